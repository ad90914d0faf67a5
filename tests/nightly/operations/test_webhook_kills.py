"""Webhooks survive kills of any process: every event arrives, in order, with the same id at each attempt."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.jobs.webhooks import signing
from deploy.stack.stack import Stack
from tests.support.films import panning, write_video
from tests.support.job_requests import wait_for_job
from tests.support.stack_state import ready
from tests.support.stacks import running_stack, until
from tests.support.webhook_receiver import Receiver, receiving

PROGRAMS = ("webhooks", "jobs", "web", "nginx", "triton")
RECOVERY_S = 60.0
LONGEST_S = 2.0  # from one kill to the next, after all programs run again
UNFINISHED = 2  # fewest jobs at every kill
LATE_S = 120.0  # an event that failed once is tried again after 5 to 6 s


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stack(receiver: Receiver) -> Iterator[Stack]:
    with running_stack(models=("camera_motion",), webhooks=receiver.entry) as stack:
        until(stack.settings.webhook_secret_path.exists, 20)
        receiver.secret = signing.read(stack.settings.webhook_secret_path)[0]
        yield stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30, transport=httpx.HTTPTransport(retries=3)) as http:
        yield http


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    frames = panning(450, 160, 120, step=1, seed=9)
    return write_video(tmp_path_factory.mktemp("films") / "film.mp4", frames).read_bytes()


def kill(stack: Stack, victim: str) -> None:
    """Kill a program and wait until all runs again."""
    before = until(lambda: _pid(stack, victim), RECOVERY_S)
    os.kill(before, signal.SIGKILL)
    until(lambda: _pid(stack, victim) not in (0, before), RECOVERY_S)
    until(lambda: ready(stack), RECOVERY_S)


def _pid(stack: Stack, program: str) -> int:
    answer = stack.supervisorctl("pid", program).strip()
    return int(answer) if answer.isdecimal() else 0


def send(http: httpx.Client, method: str, path: str, **options: Any) -> Any:
    """Send a request until it is answered, as clients do, and return its JSON.

    Workers of a killed nginx answer until the next one ends them.
    """

    def attempt() -> httpx.Response | None:
        try:
            answer = http.request(method, path, **options)
        except httpx.TransportError:
            return None
        return None if answer.status_code >= 500 else answer

    answer = until(attempt, RECOVERY_S)
    assert answer.is_success, answer.text
    return answer.json()


def unfinished(http: httpx.Client) -> int:
    jobs = send(http, "GET", "/v1/jobs", params={"limit": 100})["jobs"]
    return sum(job["state"] in ("queued", "running") for job in jobs)


@pytest.mark.timeout(1800)
def test_every_event_arrives_over_kills(
    stack: Stack, http: httpx.Client, receiver: Receiver, film: bytes, repeats: int
) -> None:
    accepted: list[str] = []
    chance = random.Random(repeats)
    for victim in PROGRAMS * repeats:
        while unfinished(http) < UNFINISHED:
            params = {"hop_s": 0.06, "callback_url": f"{receiver.origin}/hook"}
            key = {"Idempotency-Key": f"job {len(accepted)}"}
            accepted.append(send(http, "POST", "/v1/jobs", content=film, params=params, headers=key)["id"])
        time.sleep(chance.uniform(0.05, LONGEST_S))  # the random moment
        kill(stack, victim)
    ended = {identity: wait_for_job(http, identity, LATE_S)["state"] for identity in accepted}
    assert set(ended.values()) == {"done"}
    until(lambda: send(http, "GET", "/v1/webhooks", params={"state": "pending"})["webhooks"] == [], LATE_S)
    events = send(http, "GET", "/v1/webhooks", params={"limit": 500})["webhooks"]
    assert len(events) < 500
    assert {event["state"] for event in events} == {"delivered"}
    for identity in accepted:
        types = receiver.types(identity)
        assert types[0] == "job.started" and types[-1] == "job.done", types
        assert types.count("job.progress") <= 3
    bodies = defaultdict[str, set[str]](set)
    for delivery in receiver.delivered:
        bodies[delivery.id].add(delivery.body)
    assert all(len(versions) == 1 for versions in bodies.values())
    assert bodies.keys() == {event["id"] for event in events}
    repeated = len(receiver.delivered) - len(bodies)
    print(f"{len(PROGRAMS) * repeats} kills, {len(accepted)} jobs, {len(bodies)} events, {repeated} came again")
