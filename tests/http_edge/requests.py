"""Uploads as bytes of HTTP, so that no HTTP client corrects them."""

from __future__ import annotations

import json
from typing import Any

from tests.http_edge.connections import Reply

BOUNDARY = b"0123456789abcdef"


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Return a request with an unchanged `body`."""
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def form(*parts: bytes, path: str = "/v1/classify", end: bytes = b"--" + BOUNDARY + b"--\r\n") -> bytes:
    """Return a form of these parts; each is the text after "form-data; "."""
    encoded = (b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
    return post(path, b"".join(encoded) + end, f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}")


def part(content: bytes, name: bytes = b"clip.mp4") -> bytes:
    """Return the part of a form that is a file."""
    return b'name="file"; filename="' + name + b'"\r\nContent-Type: video/mp4\r\n\r\n' + content


def json_body(reply: Reply) -> dict[str, Any]:
    """Return the JSON of an answer; empty if there is none."""
    try:
        answer: dict[str, Any] = json.loads(reply.answer.body)
    except ValueError:
        return {}
    return answer
