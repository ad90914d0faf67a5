"""Messages between the fetcher and its clients: JSON, one datagram each way, on a SOCK_SEQPACKET socket.

The request carries one descriptor, of the file to download to, or of the file whose content is written. Its sender
keeps the connection open until the answer; when it closes the connection, the fetcher stops.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from app.errors import ClipstackError
from app.fetch.errors import BY_CODE, FetcherUnavailable

MAX_MESSAGE = 16 << 10
MAX_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one download: its bytes, its seconds in all, and the bytes to leave free on the disk."""

    max_bytes: int
    seconds: float
    min_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Request to download a URL, or to write to an object store, with its limits."""

    url: str
    limits: Limits
    write: bool = False

    def to_bytes(self) -> bytes:
        """Return the message."""
        return json.dumps({"url": self.url, "write": self.write, **asdict(self.limits)}).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> FetchRequest:
        """Return the request in a message; raises ValueError."""
        content = _object(message)
        try:
            limits = Limits(int(content["max_bytes"]), float(content["seconds"]), int(content["min_free_bytes"]))
            url = content["url"]
        except (KeyError, TypeError) as error:
            raise ValueError("the request lacks a field, or one has the wrong type") from error
        if not isinstance(url, str) or not 0 < limits.seconds <= MAX_SECONDS or limits.max_bytes < 0:
            raise ValueError("a field of the request is out of range")
        return cls(url, limits, content.get("write") is True)


def answer(length: int) -> bytes:
    """Return the message of a finished download or upload."""
    return json.dumps({"bytes": length}).encode()


def failure(error: ClipstackError) -> bytes:
    """Return the message of an error."""
    return json.dumps({"code": error.code, "message": error.message[:1000]}).encode()


def parse_answer(message: bytes) -> int:
    """Return the bytes of a finished download; raises the error in the message."""
    try:
        content = _object(message)
    except ValueError as error:
        raise FetcherUnavailable("the download failed; please try again in a moment") from error
    if "code" in content:
        raise BY_CODE.get(str(content["code"]), FetcherUnavailable)(str(content.get("message", "")))
    return int(content.get("bytes", 0))


def _object(message: bytes) -> dict[str, Any]:
    content = json.loads(message)
    if not isinstance(content, dict):
        raise ValueError("the message is no JSON object")
    return content
