"""Webhooks of the whole stack: events of real jobs, the list, retries, the command line, and the page's receiver."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.jobs.webhooks import signing
from deploy.stack.ports import free_ports
from deploy.stack.stack import Stack
from tests.support.films import panning, write_video
from tests.support.job_requests import submit_job, wait_for_job
from tests.support.stack_state import pid_of
from tests.support.stacks import CHECKOUT, running_stack, until
from tests.support.webhook_receiver import Receiver, receiving

COMMAND = Path(sys.executable).with_name("clipstack")
ENDS = ("job.done", "job.failed", "job.cancelled")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def page_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def stack(receiver: Receiver, page_port: int) -> Iterator[Stack]:
    hosts = f"{receiver.entry},http://127.0.0.1:{page_port}!private"
    with running_stack(wait=False, models=("camera_motion",), webhooks=hosts) as stack:
        until(stack.settings.webhook_secret_path.exists, 20)
        receiver.secret = signing.read(stack.settings.webhook_secret_path)[0]
        yield stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    frames = panning(300, 160, 120, step=1, seed=9)
    return write_video(tmp_path_factory.mktemp("films") / "film.mp4", frames).read_bytes()


def clipstack(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, *arguments, "--url", stack.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_job_s_events_arrive_signed_and_in_order(http: httpx.Client, receiver: Receiver, film: bytes) -> None:
    job = submit_job(http, film, hop_s=0.05, callback_url=f"{receiver.origin}/hook")
    assert job["callback_url"] == f"{receiver.origin}/hook"
    assert wait_for_job(http, job["id"])["state"] == "done"
    until(lambda: "job.done" in receiver.types(job["id"]), 20)
    types = receiver.types(job["id"])
    assert (types[0], types[-1]) == ("job.started", "job.done") and set(types[1:-1]) <= {"job.progress"}
    until(lambda: http.get("/v1/webhooks", params={"state": "pending"}).json()["webhooks"] == [], 10)
    listed = [event for event in http.get("/v1/webhooks").json()["webhooks"] if event["job"] == job["id"]]
    assert {event["state"] for event in listed} == {"delivered"}
    assert {event["id"] for event in listed} == {item.id for item in receiver.delivered if item.job == job["id"]}


def test_cancelled_job_reports_its_end(http: httpx.Client, receiver: Receiver, film: bytes) -> None:
    job = submit_job(http, film, hop_s=0.01, callback_url=receiver.origin)
    http.delete(f"/v1/jobs/{job['id']}")
    until(lambda: set(receiver.types(job["id"])) & set(ENDS), 20)


def test_other_hosts_are_refused(http: httpx.Client, film: bytes) -> None:
    for url in ("https://elsewhere.example.com/", "http://169.254.169.254/", "not a url"):
        answer = http.post("/v1/jobs", content=film, params={"callback_url": url})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter"), url
        assert http.post("/v1/webhooks/test", params={"callback_url": url}).status_code == 400
    assert http.post("/v1/webhooks/test").status_code == 400


def test_event_that_failed_is_sent_again(http: httpx.Client, stack: Stack, receiver: Receiver) -> None:
    answer = receiver.answer
    receiver.answer = lambda: (500, {})
    try:
        done = clipstack(stack, "webhooks", "test", receiver.origin)
    finally:
        receiver.answer = answer
    assert done.returncode == 1 and "the receiver answered 500" in done.stderr
    (dead,) = http.get("/v1/webhooks", params={"state": "dead"}).json()["webhooks"]
    assert (dead["attempts"], dead["status"], dead["next_attempt"]) == (1, 500, None)
    assert dead["id"] in clipstack(stack, "webhooks", "list", "--state", "dead", "--json").stdout
    assert clipstack(stack, "webhooks", "retry", dead["id"]).returncode == 0
    until(lambda: http.get(f"/v1/webhooks/{dead['id']}").json()["state"] == "delivered", 10)
    assert http.post(f"/v1/webhooks/msg_{'0' * 32}/retry").json()["error"]["code"] == "webhook_not_found"


def test_metrics_count_the_events(http: httpx.Client, stack: Stack, receiver: Receiver) -> None:
    assert clipstack(stack, "webhooks", "test", receiver.origin).returncode == 0
    delivered = re.search(r'clipstack_webhook_events{state="delivered"} (\d+)', http.get("/metrics").text)
    assert delivered and int(delivered[1]) >= 1


def test_secret_is_not_shown_without_keys(http: httpx.Client) -> None:
    assert http.get("/v1/webhooks/secret").status_code == 403


def test_example_receiver_of_the_page_works(http: httpx.Client, stack: Stack, page_port: int, tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "webhooks.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "receiver.py").write_text(code.replace("9000", str(page_port)))
    secret = signing.read(stack.settings.webhook_secret_path)[0]
    environment = os.environ | {"WEBHOOK_SECRET": secret}
    command = [sys.executable, "receiver.py"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: answers(page_port), 20)
            done = clipstack(stack, "webhooks", "test", f"http://127.0.0.1:{page_port}/clipstack")
            assert done.returncode == 0 and "answered 204" in done.stdout, done.stderr
            assert process.stdout is not None and "webhook.test" in process.stdout.readline()
            forged = httpx.post(f"http://127.0.0.1:{page_port}/", content=b"{}", headers={"webhook-id": "msg_1"})
            assert forged.status_code == 401
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/")
    except httpx.TransportError:
        return False
    return True


def test_program_runs_where_hosts_are_allowed(stack: Stack) -> None:
    assert pid_of(stack, "webhooks")
