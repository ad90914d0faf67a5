"""Holds an answer against what was promised of it: status, body, words, connection, time, and what the app saw."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence

from deploy.stack.stack import Stack
from tests.http_edge.connections import Reply, exchange
from tests.http_edge.request_tap import Tap
from tests.nightly.faults.rows import Row
from tests.support.stacks import CHECKOUT

# Of no use to who sent the file, and of some to who looks for a way in
WORDS = re.compile(
    rb"Traceback|File \"|\.py\b|/dev/shm|/proc|/tmp/|/run/|/usr/|avcodec|libav|ffmpeg|decord|pillow|werkzeug|gunicorn|"
    rb"python|flask|triton|errno|0x[0-9a-f]{6}",
    re.IGNORECASE,
)
QUICK_S, DECODING_S = 1.0, 5.0
NOTHING = "nothing reached the app"


class Judge:
    """Sends requests to one stack, of one row."""

    def __init__(self, stack: Stack, tap: Tap, row: Row) -> None:
        self.stack, self.tap, self.row = stack, tap, row

    def __call__(
        self, sent: bytes, expected: str, *, within_s: float = DECODING_S, closed: bool = False,
        app: Sequence[int] = (0, 1), what: str = "",
    ) -> Reply:  # fmt: skip
        """Send `sent`; `expected` is "400 bad_request"; `app`: how many requests may reach it; `what` is told."""
        seen = len(self.tap)
        reply = exchange(self.stack.url, sent)
        reached = [each for each in self.tap.requests[seen:] if not each.startswith(b"GET /healthz ")]
        code = reply.error.get("code", "")
        said = f"{reply.answer.status} {code}".strip()
        prefix = f"{what}: " if what else ""
        self._look_at_words(reply, prefix)
        words = f"{prefix}{said}, connection {reply.state}"
        if words not in self.row.measured:
            ends = ("closed",) if closed else ("closed", "kept")
            self.row.holds(words, said == expected and reply.state in ends)
        if reply.seconds > within_s:
            self.row.within(f"{prefix}after", reply.seconds, within_s)
        if len(reached) not in app:
            self.row.holds(f"{prefix}requests that reached the app: {len(reached)}", False)
        elif app == (0,) and NOTHING not in self.row.measured:
            self.row.holds(NOTHING, True)
        return reply

    def _look_at_words(self, reply: Reply, prefix: str) -> None:
        answer = reply.answer
        if answer.status >= 300 or not answer.status:
            in_form = set(reply.error) == {"code", "message", "request_id"} and set(json.loads(answer.body)) == {
                "error"
            }
            in_form &= bool(reply.error.get("message"))
            in_form &= not answer.status or answer.headers.get("content-type", "").startswith("application/json")
            in_form &= not answer.status or answer.headers.get("x-request-id") == reply.error.get("request_id")
            if not in_form:
                self.row.holds(f"{prefix}no JSON of ours: {answer.body[:60]!r}", False)
        told = answer.body + repr(answer.headers).encode()
        places = (str(CHECKOUT).encode(), str(self.stack.run_dir).encode())
        found = WORDS.search(told)
        if found or any(place in told for place in places):
            self.row.holds(f"{prefix}says {found[0]!r}" if found else f"{prefix}says a path", False)


def until_logged(stack: Stack, request_id: str, patience_s: float = 5.0) -> str:
    """The line of nginx's log with that id; nginx writes it after it has answered."""
    log, deadline = stack.run_dir / "logs" / "nginx-access.log", time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if request_id in line:
                return line
        time.sleep(0.05)
    return ""
