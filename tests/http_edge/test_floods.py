"""One client that holds many connections or many uploads, while others are served."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from deploy.stack.stack import Stack
from tests.http_edge.connections import ALIVE, exchange
from tests.support.raw_http import parse_response
from tests.support.stacks import until

FLOODS = (2_100, 6_000)
HALF = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: half"
BEGUN = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nand no more"
HEADER_TIMEOUT_S = 10


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Raise this process's limit of open files to `count`, or as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(stack: Stack, source: str, sent: bytes, held: ExitStack) -> socket.socket:
    address = urlsplit(stack.url)
    connection = socket.create_connection((address.hostname, address.port), 10, source_address=(source, 0))
    held.enter_context(connection)
    connection.sendall(sent)
    return connection


def ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(4096)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_half_sent_headers(edge: Stack) -> None:
    with descriptors(max(FLOODS) + 1000), ExitStack() as held:
        flood: list[socket.socket] = []
        for size in FLOODS:
            began = time.monotonic()
            flood += [connect(edge, "127.0.0.2", HALF, held) for _ in range(size - len(flood))]
            replies = [exchange(edge.url, ALIVE) for _ in range(20)]
            answered = sum(reply.answer.status == 200 for reply in replies)
            assert answered == 20, f"{size} clients: {answered} of 20 others answered"
            assert (max(reply.seconds for reply in replies)) <= 1.0, "the slowest after"
        last = flood[-1]
        until(lambda: ended(last), HEADER_TIMEOUT_S + 5)
        assert (time.monotonic() - began) <= HEADER_TIMEOUT_S + 5, "the last was closed after"


UPLOADS = 300


def test_uploads_of_one_address(edge: Stack) -> None:
    most = edge.settings.max_uploads
    with ExitStack() as held:
        uploads = [connect(edge, "127.0.0.3", BEGUN, held) for _ in range(UPLOADS)]
        until(lambda: len(readable(uploads)) >= UPLOADS - most, 10)
        refused = readable(uploads)
        statuses = Counter(parse_response(upload.recv(65536)).status for upload in refused)
        assert statuses == {429: UPLOADS - most}, f"of {UPLOADS} uploads refused: {dict(statuses)}"
        other = exchange(edge.url, BEGUN.replace(b"1000000", b"11"))
        assert other.answer.status == 415, f"from another address: {other.answer.status}"
        assert set(readable(uploads)) <= set(refused), f"still under way: {UPLOADS - len(refused)}"

    def again() -> int:
        with ExitStack() as held:
            return parse_response(connect(edge, "127.0.0.3", BEGUN.replace(b"1000000", b"11"), held).recv(65536)).status

    until(lambda: again() == 415, 5)


def readable(connections: list[socket.socket]) -> list[socket.socket]:
    """Return the connections that were answered or closed."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(0) if isinstance(key.fileobj, socket.socket)]
