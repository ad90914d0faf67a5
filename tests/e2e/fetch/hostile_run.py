"""Send hostile URLs to a stack inside a network namespace, and write the results to a folder.

Usage: python -m tests.e2e.fetch.hostile_run FOLDER (in namespaces of its own: unshare --net --mount)
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from deploy.demo import film
from tests.e2e.fetch.dns_server import dns_server
from tests.e2e.fetch.hostile_urls import HOSTILE, JOBS, NAMES, SITE
from tests.e2e.fetch.private_network import NAME_SERVER, PUBLIC, SECOND_PUBLIC, PacketWatch, listeners, set_up
from tests.support.hostile_server import hostile_server
from tests.support.stacks import running_stack, until

# A rule for every name and for the ports that the private listeners have, so that only addresses can be refused
RULES = "*,http://*"
CONTROL = ("10.0.0.1", 8000)  # a connection of the test's own, which both must record


def job(http: httpx.Client, url: str) -> str:
    """Return the error code with which a job of this URL ends or is refused."""
    answer = http.post("/v1/jobs", json={"url": url}).json()
    if "error" in answer and "id" not in answer:
        return f"refused: {answer['error']['code']}"
    record = until(lambda: _ended(http.get(f"/v1/jobs/{answer['id']}").json()), 60)
    return f"{record['state']}: {(record['error'] or {}).get('code')}"


def _ended(record: dict[str, Any]) -> dict[str, Any] | None:
    return record if record["state"] in ("done", "failed") else None


def main(folder: Path) -> None:
    set_up(folder / "resolv.conf")
    film(folder / "clip.mp4")
    content = (folder / "clip.mp4").read_bytes()
    settings = {"fetch": RULES, "fetch_timeout_s": "4", "max_upload_mb": "4", "web_workers": "2"}
    with ExitStack() as held:
        held.enter_context(hostile_server(PUBLIC, 80, content))
        held.enter_context(hostile_server(SECOND_PUBLIC, 80, content))
        names = held.enter_context(dns_server(NAME_SERVER, NAMES))
        stack = held.enter_context(running_stack(wait=False, models=["camera_motion"], **settings))
        arrived = held.enter_context(listeners())
        watch = PacketWatch({stack.settings.port})
        held.callback(watch.close)
        with httpx.Client(base_url=stack.url, timeout=60) as http, ThreadPoolExecutor(6) as threads:

            def post(url: str) -> dict[str, Any]:
                answer = http.post("/v1/classify", json={"url": url})
                return {"status": answer.status_code, **answer.json()}

            controls = {
                url: post(url) for url in (f"{SITE}/clip.mp4", f"{SITE}/redirect?to=http://second.example/a.mp4")
            }
            answers = dict(zip(HOSTILE, threads.map(post, HOSTILE), strict=True))
            jobs = {url: job(http, url) for url in JOBS}
            packets, reached = list(watch.seen), list(arrived)
            socket.create_connection(CONTROL, timeout=5).close()
            until(lambda: CONTROL in watch.seen and CONTROL in arrived, 5)
        uploads = stack.run_dir / "uploads"
        until(lambda: not any(uploads.iterdir()), 5)  # nginx removes its own after the answer
        left = [path.name for path in uploads.iterdir()]
        log = (stack.run_dir / "logs" / "fetch.log").read_text()
    result = {
        "controls": controls,
        "answers": answers,
        "jobs": jobs,
        "arrived": reached,
        "packets": packets,
        "queries": names.queries,
        "left": left,
        "log": log,
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
