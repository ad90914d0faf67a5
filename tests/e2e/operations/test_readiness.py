"""Readiness: all web workers are warm, and a replacement worker does not interrupt it."""

import http.client
import json
import os
import signal
import threading

import httpx
import pytest

from app.pipeline.readiness import WorkerRegistry, WorkerStatus
from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.support.stack_state import pid_of, ready
from tests.support.stacks import until

RECOVERY_S = 60


def workers(stack: Stack) -> dict[int, WorkerStatus]:
    """Return the status of each living worker by pid."""
    folder = stack.run_dir / paths.WORKER_STATUS
    WorkerRegistry(folder).statuses()  # removes the records of dead ones
    statuses = {}
    for path in folder.glob("[0-9]*"):
        if not path.suffix:
            statuses[int(path.name)] = WorkerStatus(**json.loads(path.read_text()))
    return statuses


def is_warm(facts: WorkerStatus) -> bool:
    return facts == WorkerStatus(serves=True, decoders=2, cold="", triton=True, region=True, clip="")


def all_warm(stack: Stack) -> bool:
    return len(workers(stack)) == 2 and all(map(is_warm, workers(stack).values()))


class Watching(threading.Thread):
    """Poll /readyz like a load balancer, and keep every answer other than 200."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self._port, self._done = stack.settings.port, threading.Event()
        self.polls, self.refused = 0, list[str]()

    def run(self) -> None:
        while not self._done.wait(0.05):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            result = answer.read().decode()
            connection.close()
            self.polls += 1
            if answer.status != 200:
                self.refused.append(result)

    def end(self) -> None:
        self._done.set()
        self.join(30)


def test_ready_means_every_worker_and_decoder_is_warm(stack: Stack) -> None:
    body = httpx.get(f"{stack.url}/readyz", timeout=20).json()

    assert body["status"] == "ready" and body["workers"] == [{"decoders": 2}, {"decoders": 2}]
    assert all_warm(stack)
    assert not (stack.run_dir / paths.WORKER_STATUS / "expected").exists()


def test_warmup_clips_are_counted(stack: Stack) -> None:
    name = 'clipstack_clips_total{program="web",transport="system_shared_memory"} '

    def counted() -> bool:  # each worker writes down what it did every two seconds
        lines = httpx.get(f"{stack.url}/metrics", timeout=20).text.splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name)) >= 2

    until(counted, RECOVERY_S)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_replacement_worker_does_not_block_readiness(stack: Stack, how: signal.Signals) -> None:
    until(lambda: all_warm(stack), RECOVERY_S)
    before = set(workers(stack))
    watching = Watching(stack)
    watching.start()
    try:
        os.kill(min(before), how)
        until(lambda: set(workers(stack)) != before and all_warm(stack) and watching.polls > 5, RECOVERY_S)
    finally:
        watching.end()
    assert watching.refused == []


def test_new_workers_are_warm_before_old_ones_end(stack: Stack) -> None:
    until(lambda: all_warm(stack), RECOVERY_S)
    before = set(workers(stack))
    watching = Watching(stack)
    watching.start()
    try:
        os.kill(pid_of(stack, "web"), signal.SIGHUP)
        until(lambda: not before & set(workers(stack)) and all_warm(stack), RECOVERY_S)
    finally:
        watching.end()
    assert watching.refused == []


def test_workers_start_without_triton(stack: Stack) -> None:
    stack.supervisorctl("stop", "triton")
    stack.supervisorctl("restart", "web")
    try:
        until(lambda: alive(stack), RECOVERY_S)
        answer = httpx.get(f"{stack.url}/readyz", timeout=20)
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "not_ready"
        until(lambda: len(workers(stack)) == 2 and all(facts.serves for facts in workers(stack).values()), RECOVERY_S)
        assert {facts.missing_step() for facts in workers(stack).values()} == {"has not reached Triton"}
        assert all(facts.decoders == 2 for facts in workers(stack).values())
    finally:
        stack.supervisorctl("start", "triton")
    until(lambda: ready(stack), RECOVERY_S)
    assert all_warm(stack)


def alive(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.url}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
