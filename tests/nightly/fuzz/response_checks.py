"""Checks of answers against the description of the API."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.openapi import codes
from app.settings import Settings

# Names of libraries and of the machine that no message may contain; 0x... is a memory address
_INNER = re.compile(
    r"/(tmp|run|home|var|usr|dev|proc|opt|root|work)/|Traceback|decord|ffmpeg|libav|avformat|avcodec|pyav|\bPIL\b|pillow"
    r"|numpy|errno|\b0x[0-9a-f]{4,}|\.py\b|subfile|body-|Error:",
    re.IGNORECASE,
)
# Ends of the decoder, by the messages of `app/decoding/pool.py`, `app/video/container.py` and `app/images/decode.py`
_CAUSES = (
    ("broke its decoder", "its process died"),
    ("took longer", "its process ran out of time"),
    ("needs more memory", "its process ran out of memory"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; status 0 means none, and `body` has the reason."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


class ResponseChecker:
    """Check answers of one route; `bound_s` is the longest time of an answer."""

    def __init__(self, settings: Settings, path: str, bound_s: float) -> None:
        self._codes, self._bound_s, self._path = codes(settings, path, "post"), bound_s, path
        self._own = str(settings.run_dir)

    def faults(self, reply: Reply) -> list[str]:
        """Return the faults of an answer; empty if it is as described."""
        return list(self._faults(reply))

    def _faults(self, reply: Reply) -> Iterator[str]:
        if reply.seconds > self._bound_s:
            yield f"answered after {reply.seconds:.1f} s"
        if reply.status == 0:
            yield f"no answer: {reply.body.decode(errors='replace')[:100]}"
            return
        try:
            body = json.loads(reply.body, parse_constant=_refused)
        except ValueError as error:
            yield f"{reply.status} that is no JSON: {error}"
            return
        if self._own.encode() in reply.body:
            yield "a path of ours"
        if reply.status < 300:
            yield from self._good(body)
        else:
            yield from self._bad(reply, body)

    def _bad(self, reply: Reply, body: Any) -> Iterator[str]:
        try:
            code, message, _ = (str(body["error"][name]) for name in ("code", "message", "request_id"))
        except (KeyError, TypeError):
            yield f"{reply.status} without code, message and request_id"
            return
        if code not in self._codes.get(reply.status, ()):
            yield f"{reply.status} {code}, which is not described"
        if reply.status >= 500 and reply.status != 503:
            yield f"{reply.status} {code}"
        if reply.status == 503 and not reply.headers.get("retry-after", "").isdigit():
            yield "503 without Retry-After"
        if found := _INNER.search(message):
            yield f"a message with {found[0]!r}: {message}"

    def _good(self, body: Any) -> Iterator[str]:
        if self._path != "/v1/classify":
            return
        media, scores = body["media"], [prediction["score"] for prediction in body["predictions"]]
        if not scores or any(not 0 <= score <= 1 for score in scores) or scores != sorted(scores, reverse=True):
            yield f"scores {scores}"
        if min(media["width"], media["height"]) < 1 or media["frames"] < 1:
            yield f"a picture of nothing: {media}"
        for name in ("duration_s", "fps"):
            if media[name] is not None and not 0 <= media[name] < math.inf:
                yield f"{name} {media[name]}"
        for clip in body["clips"]:
            if clip["times_s"] != sorted(clip["times_s"]) or min(clip["times_s"]) < 0 or min(clip["frames"]) < 0:
                yield f"a clip of frames {clip['frames']} at {clip['times_s']}"
            if max(clip["frames"]) >= media["frames"]:
                yield f"frame {max(clip['frames'])} of {media['frames']}"


def word(reply: Reply) -> str:
    """Return the kind of an answer for counting: "200", or its status and code."""
    if reply.status < 300:
        return str(reply.status or "none")
    try:
        return f"{reply.status} {json.loads(reply.body)['error']['code']}"
    except (ValueError, KeyError, TypeError):
        return str(reply.status)


def cause(reply: Reply) -> str | None:
    """Return what ended the decoder process, or None."""
    text = reply.body.decode(errors="replace") if reply.status == 422 else ""
    return next((what for words, what in _CAUSES if words in text), None)


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
