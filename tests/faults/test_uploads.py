"""Uploads that must not be taken: web cannot check their keys, or they are slow, or the disk is nearly full."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from deploy import places
from deploy.stack import Stack
from tests.faults.promise import Row
from tests.faults.victims import send, web_workers
from tests.stack.keyed import new_key
from tests.stack.raw import Answer
from tests.stack.raw import send as exchange
from tests.stack.running import running_stack, until

UPLOADS = 3  # of each kind: without a key, and with one that is none
SENT_BYTES = 2 << 20  # of each upload, unless the answer comes before
QUICK_S = 5.0


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    workers = web_workers(stack)
    send(signal.SIGSTOP, workers)
    yield
    send(signal.SIGCONT, workers)


@contextmanager
def gone(stack: Stack) -> Iterator[None]:
    stack.supervisorctl("stop", "web")
    yield
    stack.supervisorctl("start", "web")


@contextmanager
def saturated(stack: Stack) -> Iterator[None]:
    """Silent connections hold every request thread and the backlog of the request socket."""
    with ExitStack() as held:
        last = time.monotonic()
        while time.monotonic() < last + 0.3:  # no connection was taken for so long
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            if connection.connect_ex(str(places.web_socket(stack.run_dir))) == 0:
                held.enter_context(connection)
                last = time.monotonic()
            else:  # the backlog is full
                connection.close()
                time.sleep(0.01)
        yield


def _upload(stack: Stack, *headers: str) -> tuple[Answer, float]:
    head = ["POST /v1/classify HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 900000000", "Connection: close"]
    began = time.monotonic()
    answer = exchange(stack.url, "\r\n".join([*head, *headers, "", ""]).encode(), bytes(SENT_BYTES))
    return answer, time.monotonic() - began


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_40_keys_cannot_be_checked(row: Row, films: dict[str, bytes]) -> None:
    with running_stack(keys="required") as stack:
        key = {"X-API-Key": new_key(stack, "alice")}
        for fault in (stopped, gone, saturated):
            with fault(stack):
                answers = [_upload(stack, *headers) for _ in range(UPLOADS) for headers in ((), ("X-API-Key: none",))]
                codes = {f"{answer.status} {answer.error['code']}" for answer, _ in answers}
                refused = codes <= {"401 unauthorized", "503 not_ready"}
                row.holds(f"{fault.__name__}: {len(answers)} uploads without a key: {sorted(codes)}", refused)
                row.within("the slowest answer after", max(seconds for _, seconds in answers), QUICK_S)
                row.holds("no byte on the disk", _bytes_in(stack.run_dir / "uploads") == 0)
                began = time.monotonic()
                status = httpx.post(f"{stack.url}/v1/classify", content=films["pan_left"], headers=key, timeout=30)
                row.holds(f"with a key {status.status_code}", status.status_code in (200, 503))
                row.within("after", time.monotonic() - began, QUICK_S)
            until(lambda: httpx.get(f"{stack.url}/readyz", timeout=10).status_code == 200, 60)
        answer = httpx.post(f"{stack.url}/v1/classify", content=films["pan_left"], headers=key, timeout=30)
        row.holds(f"afterwards {answer.status_code}", answer.status_code == 200)
