"""Uploads that must not be taken: web cannot check their keys, or they are slow, or the disk is nearly full."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.pipeline.upload_guard import LEAST_WINDOW_S
from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.nightly.faults.private_mounts import Enclosure, no_enclosure
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import send, web_workers
from tests.support.api_keys import new_key
from tests.support.raw_http import Answer, parse_response
from tests.support.raw_http import send as exchange
from tests.support.stacks import running_stack, until

UPLOADS = 3  # of each kind: without a key, and with an invalid one
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
    """Hold every request thread and the backlog of the request socket with silent connections."""
    with ExitStack() as held:
        last = time.monotonic()
        while time.monotonic() < last + 0.3:  # no connection was taken for so long
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            if connection.connect_ex(str(stack.run_dir / paths.WEB_SOCKET)) == 0:
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
                row.check(f"{fault.__name__}: {len(answers)} uploads without a key: {sorted(codes)}", refused)
                row.check_within("the slowest answer after", max(seconds for _, seconds in answers), QUICK_S)
                row.check("no byte on the disk", _bytes_in(stack.run_dir / "uploads") == 0)
                began = time.monotonic()
                status = httpx.post(f"{stack.url}/v1/classify", content=films["pan_left"], headers=key, timeout=30)
                row.check(f"with a key {status.status_code}", status.status_code in (200, 503))
                row.check_within("after", time.monotonic() - began, QUICK_S)
            until(lambda: httpx.get(f"{stack.url}/readyz", timeout=10).status_code == 200, 60)
        answer = httpx.post(f"{stack.url}/v1/classify", content=films["pan_left"], headers=key, timeout=30)
        row.check(f"afterwards {answer.status_code}", answer.status_code == 200)


HELD, HELD_BYTES, TRICKLE_BYTES = 8, 2 << 20, 1000


class Trickle:
    """Uploads that send much at once, and then a byte per second until `finish`."""

    def __init__(self, stack: Stack, held: ExitStack) -> None:
        address, self._over, self._sent = urlsplit(stack.url), threading.Event(), 0
        length = HELD_BYTES + TRICKLE_BYTES
        head = f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        self._uploads = []
        for _ in range(HELD):
            connection = socket.create_connection((address.hostname, address.port), timeout=20)
            self._uploads.append(held.enter_context(connection))
            connection.sendall(head.encode() + bytes(HELD_BYTES))
        self._thread = threading.Thread(target=self._trickle)
        self._thread.start()
        held.callback(self._end)

    def _trickle(self) -> None:
        while not self._over.wait(1):
            for upload in self._uploads:
                upload.sendall(b"\0")
            self._sent += 1

    def _end(self) -> None:
        self._over.set()
        self._thread.join(10)

    def finish(self) -> set[str]:
        """Send the rest of each and return the answers."""
        self._end()
        result = set()
        for upload in self._uploads:
            upload.sendall(bytes(TRICKLE_BYTES - self._sent))
            received = b"".join(iter(lambda upload=upload: upload.recv(65536), b""))
            answer = parse_response(received)
            result.add(f"{answer.status} {answer.error['code']}")
        return result


@pytest.mark.timeout(300)
def test_41_slow_uploads_and_a_nearly_full_disk(row: Row, films: dict[str, bytes]) -> None:
    if reason := no_enclosure():
        pytest.skip(reason)
    enclosure = Enclosure(lambda stack: {stack.run_dir / "uploads": "32m"})
    short = {"queue_timeout_s": "1", "infer_timeout_s": "5", "restart_patience_s": "0"}  # less than the guard's window
    with running_stack(start=enclosure.start, **short) as stack, ExitStack() as held:
        uploads, url = stack.run_dir / "uploads", f"{stack.url}/v1/classify"

        def used() -> int:
            return int(enclosure.inside(stack, f"df --output=used {uploads} | tail -1")) << 10

        slow = Trickle(stack, held)
        until(lambda: used() > HELD * HELD_BYTES * 0.8, 20)
        began = time.monotonic()
        until(lambda: used() < HELD_BYTES, LEAST_WINDOW_S + 30)
        what = f"{HELD * HELD_BYTES >> 20} MiB of {HELD} slow uploads are free after"
        row.check_within(what, time.monotonic() - began, LEAST_WINDOW_S + 10)
        answers = slow.finish()
        row.check(f"answers when all was sent: {sorted(answers)}", answers == {"408 request_timeout"})
        enclosure.fill(stack, uploads)
        until(lambda: _upload(stack)[0].status == 503, 10)
        answer, seconds = _upload(stack)
        row.check(f"disk nearly full: {answer.status} {answer.error['code']}", answer.error["code"] == "storage_full")
        row.check_within("after", seconds, 1)
        enclosure.empty(stack, uploads)
        freed = time.monotonic()
        until(lambda: httpx.post(url, content=films["pan_left"], timeout=30).status_code == 200, 20)
        row.check_within("right answers after there was room and", time.monotonic() - freed, QUICK_S)
