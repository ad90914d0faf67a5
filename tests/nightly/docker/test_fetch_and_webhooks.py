"""Downloads, webhooks and resumable uploads in containers; another container is file server and receiver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clipstack_client import Client
from tests.support.docker_compose import Compose, command, running_compose
from tests.support.movements import film_movement
from tests.support.stacks import until

pytestmark = pytest.mark.timeout(1800)

# Serves the files of its folder on port 9000, and prints the type of each event that port 9001 receives
BESIDE = """
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler
class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(event["type"], self.headers["webhook-signature"][:3], flush=True)
        self.send_response(204)
        self.end_headers()
threading.Thread(target=HTTPServer(("0.0.0.0", 9001), Receiver).serve_forever, daemon=True).start()
HTTPServer(("0.0.0.0", 9000), SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    film_movement(folder / "film.mp4", "pan_left")
    return folder


@pytest.fixture(scope="module")
def compose(images: float) -> Iterator[Compose]:
    allowed = {"CLIPSTACK_FETCH": "http://media:9000!private", "CLIPSTACK_WEBHOOKS": "http://media:9001!private"}
    with running_compose(**allowed) as compose:
        yield compose


@pytest.fixture(scope="module")
def beside(compose: Compose, folder: Path) -> Iterator[str]:
    """Start a container on the service's network, with the host name `media`; yields its name."""
    name = f"{compose.project}-media"
    network = ("--network", f"{compose.project}_outside", "--network-alias", "media")
    files = ("--user", "0", "--volume", f"{folder}:/media:ro", "--workdir", "/media")
    command("docker", "run", "--detach", "--name", name, *network, *files, "clipstack-web", "python", "-c", BESIDE)
    yield name
    command("docker", "rm", "--force", name)


@pytest.mark.usefixtures("beside")
def test_file_by_url_is_classified_and_other_hosts_are_refused(compose: Compose) -> None:
    def ask(url: str) -> httpx.Response:
        return httpx.post(f"{compose.url}/v1/classify", json={"url": url}, timeout=60)

    until(lambda: ask("http://media:9000/film.mp4").status_code == 200, 20)
    assert ask("http://media:9000/film.mp4").json()["predictions"][0]["label"] == "pan_left"
    refused = ask("http://triton:8000/v2")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "host_not_allowed")


def test_job_of_a_url_sends_signed_events(compose: Compose, beside: str) -> None:
    body = {"url": "http://media:9000/film.mp4", "callback_url": "http://media:9001/events"}
    assert httpx.post(f"{compose.url}/v1/jobs", json=body, timeout=60).status_code == 202
    until(lambda: "job.done v1," in command("docker", "logs", beside), 60)
    assert command("docker", "logs", beside).splitlines()[0] == "job.started v1,"


def test_job_is_sent_in_chunks(compose: Compose, folder: Path) -> None:
    with Client(compose.url, resumable_bytes=1) as client:
        job = client.timeline(folder / "film.mp4")
    assert job.timeline and job.timeline.segments[0].label == "pan_left"
    until(lambda: '"method":"PATCH","path":"/v1/uploads/' in compose("logs", "--no-log-prefix", "web"), 20)
