"""HTTP as bytes, for requests that no HTTP client sends."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ANSWER_S = 20


@dataclass(frozen=True)
class Answer:
    """An answer; `status` is 0 if there was no status line."""

    status: int
    headers: dict[str, str]
    body: bytes
    twice: frozenset[str] = frozenset()  # names of duplicate headers

    @property
    def error(self) -> dict[str, Any]:
        """Return the "error" of a JSON body."""
        return json.loads(self.body)["error"]


def send(url: str, *pieces: bytes) -> Answer:
    """Send the bytes to the host of `url` and read one answer, complete or until the connection ends."""
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=ANSWER_S) as connection:
        for piece in pieces:
            connection.sendall(piece)
        while not is_complete(received) and (part := connection.recv(65536)):
            received += part
    return parse_response(received)


def is_complete(received: bytes) -> bool:
    answer = parse_response(received)
    return len(answer.body) >= int(answer.headers.get("content-length", sys.maxsize))


def parse_response(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/"):
        return Answer(0, {}, received)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    names = [line.partition(":")[0].lower() for line in lines]
    twice = frozenset(name for name in names if names.count(name) > 1)
    return Answer(int(first.split()[1]), headers, body, twice)
