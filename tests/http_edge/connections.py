"""Send bytes to nginx and read the answer, its time, and the state of the connection."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import statistics
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.raw_http import Answer, is_complete, parse_response

PATIENCE_S = 60
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """An answer; `state` of the connection afterwards: closed, kept (it answers again), or an error."""

    answer: Answer
    seconds: float
    state: str

    @property
    def error(self) -> dict[str, Any]:
        """Return the "error" of a JSON body; empty if there is none."""
        try:
            error = json.loads(self.answer.body)["error"]
        except (ValueError, KeyError, TypeError):
            return {}
        return error if isinstance(error, dict) else {}


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S)


def exchange(url: str, sent: bytes) -> Reply:
    """Send bytes, read one answer, and check whether another request on the same connection is answered."""
    with connect(url) as connection:
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(sent)
        received = _one_answer(connection, bodiless=sent.startswith(b"HEAD "))
        seconds = time.monotonic() - begin
        answer = parse_response(received)
        return Reply(answer, seconds, _state(connection, answer))


def _one_answer(connection: socket.socket, bodiless: bool = False) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while not is_complete(received) and (part := connection.recv(65536)):
            received += part
            if received.endswith(b"\r\n\r\n") and (bodiless or received.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304"))):
                break
    return received


def _state(connection: socket.socket, answer: Answer) -> str:
    if len(answer.body) > int(answer.headers.get("content-length", len(answer.body))):
        return "more than one answer"
    try:
        if answer.headers.get("connection") == "close":  # nginx reads on for a while, unless the client ends first
            connection.shutdown(socket.SHUT_WR)
            return "more than one answer" if connection.recv(65536) else "closed"
        connection.sendall(ALIVE)
        again = parse_response(_one_answer(connection))
    except ConnectionError:
        return "closed"
    if not again.status and not again.body:
        return "closed"
    return "kept" if again.status == 200 and json.loads(again.body) == {"status": "alive"} else "out of step"


def everything(url: str, sent: bytes, patience_s: float = 3) -> bytes:
    """Return all bytes until the end of the connection, or until `patience_s` without a byte."""
    received = b""
    with connect(url) as connection, contextlib.suppress(ConnectionError, TimeoutError):
        connection.sendall(sent)
        connection.settimeout(patience_s)
        while part := connection.recv(65536):
            received += part
    return received


def statuses(received: bytes) -> list[int]:
    """Return the status of each answer in the bytes."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", received, re.MULTILINE)]


def latencies(url: str) -> tuple[float, float]:
    """Return the median seconds of 30 liveness checks, and of 30 uploads of a text."""
    upload = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ntext"
    live, refused = ([exchange(url, sent).seconds for _ in range(30)] for sent in (ALIVE, upload))
    return statistics.median(live), statistics.median(refused)


class Stalled:
    """Clients that stop: `HEADS` in the middle of their headers, `BODIES` in the middle of an upload."""

    HEADS, BODIES = 5, 200
    _HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended: dict[socket.socket, tuple[float, bytes]] = {}
        self._begin = 0.0
        self.heads: list[socket.socket] = []
        self.bodies: list[socket.socket] = []
        self.latencies: tuple[float, float] = (0.0, 0.0)
        self._watch = threading.Thread(target=self._wait)

    def __enter__(self) -> Stalled:
        self._begin = time.monotonic()
        self.heads = [self._open(self._HEAD + b"X-A: half") for _ in range(self.HEADS)]
        self.bodies = [self._open(self._HEAD + b"\r\n" + b"half") for _ in range(self.BODIES)]
        self.latencies = latencies(self._url)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in [*self.heads, *self.bodies]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._watch.join(PATIENCE_S)
        for connection in [*self.heads, *self.bodies]:
            connection.close()

    def _open(self, sent: bytes) -> socket.socket:
        connection = connect(self._url)
        connection.sendall(sent)
        return connection

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            for connection in [*self.heads, *self.bodies]:
                selector.register(connection, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    assert isinstance(key.fileobj, socket.socket)
                    received = b""
                    with contextlib.suppress(ConnectionError):
                        received = key.fileobj.recv(65536)
                    self._ended[key.fileobj] = time.monotonic() - self._begin, received
                    selector.unregister(key.fileobj)

    def still_open(self) -> int:
        return self.HEADS + self.BODIES - len(self._ended)

    def ended(self, connections: list[socket.socket], patience_s: float) -> list[tuple[float, bytes]]:
        """Return the seconds until each was closed, and its answer; fewer if some are still open."""
        while time.monotonic() < self._begin + patience_s and not set(connections) <= set(self._ended):
            time.sleep(0.1)
        return [self._ended[connection] for connection in connections if connection in self._ended]
