"""Files by URL through the whole service."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.demo import film
from deploy.stack.stack import Stack
from tests.support.hostile_server import HostileServer, hostile_server
from tests.support.other_users import owner_of
from tests.support.stacks import running_stack, until

SECRET = "not-for-other-programs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileServer]:
    clip = tmp_path_factory.mktemp("films") / "clip.mp4"
    film(clip)
    with hostile_server(content=clip.read_bytes()) as server:
        yield server


@pytest.fixture(scope="module")
def site(server: HostileServer) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def fetching_stack(server: HostileServer) -> Iterator[Stack]:
    os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET
    try:
        with running_stack(
            wait=False, models=["camera_motion"], fetch=f"http://127.0.0.1:{server.port}!private"
        ) as stack:
            yield stack
    finally:
        del os.environ["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture
def http(fetching_stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fetching_stack.url, timeout=60) as http:
        yield http


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def finished(http: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text

    def ended() -> dict[str, Any] | None:
        record: dict[str, Any] = http.get(f"/v1/jobs/{answer.json()['id']}").json()
        return record if record["state"] in ("done", "failed") else None

    return until(ended, 90)


def pid_of_fetcher(stack: Stack) -> int:
    text = stack.supervisorctl("pid", "fetch").strip()
    return int(text) if text.isdecimal() else 0


def uploads(stack: Stack) -> list[str]:
    return [path.name for path in (stack.run_dir / "uploads").iterdir()]


def test_url_gives_the_answer_of_its_file(http: httpx.Client, fetching_stack: Stack, site: str, server) -> None:
    sent = http.post("/v1/classify", content=server.content).json()
    answer = http.post("/v1/classify", json={"url": f"{site}/films/clip.mp4?token=1", "top_k": 3})
    body = answer.json()
    assert answer.status_code == 200
    assert body["predictions"] == sent["predictions"][:3]
    assert (body["media"]["name"], body["media"]["bytes"]) == ("clip.mp4", len(server.content))
    assert body["timing_ms"]["fetch"] > 0
    until(lambda: uploads(fetching_stack) == [], 5)


def test_job_downloads_its_video(http: httpx.Client, site: str, server: HostileServer) -> None:
    body = {"url": f"{site}/films/clip.mp4?token=1", "hop_s": 1.0}
    first = http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "film"})
    record = finished(http, first)
    assert (record["state"], record["name"], record["bytes"]) == ("done", "clip.mp4", len(server.content))
    assert record["url"] == f"{site}/films/clip.mp4"
    assert record["timeline"]["segments"] and record["media"]["bytes"] == len(server.content)
    assert http.get(record["links"]["source"]).content == server.content
    again = http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "film"})
    assert (again.status_code, again.json()["id"]) == (200, record["id"])
    other = http.post("/v1/jobs", json=body | {"url": f"{site}/other.mp4"}, headers={"Idempotency-Key": "film"})
    assert error_of(other) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"url": "{site}/status/404"}, (422, "source_status")),
        ({"url": "{site}/empty"}, (400, "empty_file")),
        ({"url": "http://127.0.0.1:1/"}, (403, "host_not_allowed")),
        ({"url": "https://user@host/"}, (400, "invalid_url")),
        ({"url": 7}, (400, "bad_request")),
        ({"url": "{site}/clip.mp4", "file": "AAAA"}, (400, "bad_request")),
        ({"url": "{site}/clip.mp4", "s3": "s3://bucket/key"}, (400, "bad_request")),
        ({"s3": "{site}/clip.mp4"}, (400, "bad_request")),
        ({"s3": "s3://bucket/key"}, (403, "host_not_allowed")),
        ({"url": "{site}/clip.mp4", "topk": 1}, (400, "invalid_parameter")),
    ],
)
def test_refusals(http: httpx.Client, fetching_stack: Stack, site: str, body: dict[str, Any], error) -> None:
    text = {name: value.format(site=site) if isinstance(value, str) else value for name, value in body.items()}
    assert error_of(http.post("/v1/classify", json=text)) == error
    until(lambda: uploads(fetching_stack) == [], 5)


def test_deadline_of_request_includes_its_download(http: httpx.Client, site: str) -> None:
    answer = http.post("/v1/classify", json={"url": f"{site}/silent"}, headers={"X-Deadline-Ms": "1000"})
    assert error_of(answer) == (504, "deadline_exceeded")
    assert answer.elapsed.total_seconds() < 4


def test_disconnect_ends_the_download(fetching_stack: Stack, site: str, server: HostileServer) -> None:
    server.left.clear()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{fetching_stack.url}/v1/classify", json={"url": f"{site}/silent"}, timeout=1)
    until(lambda: server.left == ["/silent"], 5)
    until(lambda: uploads(fetching_stack) == [], 5)


def test_killed_fetcher_loses_nothing(http: httpx.Client, fetching_stack: Stack, site: str) -> None:
    pid = pid_of_fetcher(fetching_stack)
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    answer = http.post("/v1/classify", json={"url": f"{site}/silent"})
    assert error_of(answer) == (503, "fetcher_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    record = finished(http, http.post("/v1/jobs", json={"url": f"{site}/clip.mp4", "hop_s": 1.0}))  # at once
    assert (record["state"], record["tries"]) == ("done", 1)
    until(lambda: pid_of_fetcher(fetching_stack) not in (0, pid), 10)
    assert http.post("/v1/classify", json={"url": f"{site}/clip.mp4"}).status_code == 200
    until(lambda: uploads(fetching_stack) == [], 5)


def test_cancelled_job_ends_its_download(http: httpx.Client, site: str, server: HostileServer) -> None:
    server.left.clear()
    job = http.post("/v1/jobs", json={"url": f"{site}/silent"}).json()
    until(lambda: http.get(f"/v1/jobs/{job['id']}").json()["state"] == "running", 30)
    http.delete(f"/v1/jobs/{job['id']}")
    until(lambda: http.get(f"/v1/jobs/{job['id']}").json()["state"] == "cancelled", 10)
    until(lambda: server.left == ["/silent"], 5)


def test_service_without_rules_downloads_nothing(stack: Stack, site: str) -> None:
    for path in ("classify", "jobs"):
        answer = httpx.post(f"{stack.url}/v1/{path}", json={"url": f"{site}/clip.mp4"}, timeout=30)
        assert error_of(answer) == (403, "fetch_disabled")
    assert "fetch" not in stack.supervisorctl("status")


def test_only_the_fetcher_has_credentials(fetching_stack: Stack) -> None:
    fetcher = pid_of_fetcher(fetching_stack)
    names = {pid: name for pid, name in fetching_stack.processes().items() if name not in ("supervisord", "nginx")}
    having = {pid for pid in names if SECRET.encode() in Path(f"/proc/{pid}/environ").read_bytes()}
    supervisor = int((fetching_stack.run_dir / "supervisord.pid").read_text())
    watchdog = int(fetching_stack.supervisorctl("pid", "watchdog"))
    assert fetcher in having
    assert having <= {fetcher, supervisor, watchdog}  # these two started as the stack's user, who alone can read it


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user")
def test_fetcher_runs_as_its_own_user(fetching_stack: Stack) -> None:
    others = {owner_of(pid) for pid in fetching_stack.processes()} - {0}
    fetcher = pid_of_fetcher(fetching_stack)
    if fetching_stack.warnings:
        pytest.skip(fetching_stack.warnings[0])
    assert owner_of(fetcher) not in (0, owner_of(int(fetching_stack.supervisorctl("pid", "jobs"))))
    assert len(others) >= 2
