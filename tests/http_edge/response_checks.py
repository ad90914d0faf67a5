"""Send bytes to the stack and check the response."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence

from deploy.stack.stack import Stack
from tests.http_edge.connections import Reply, exchange
from tests.http_edge.request_tap import Tap
from tests.support.stacks import CHECKOUT

# Internal names and paths: answers must not show them
LEAKS = re.compile(
    rb"Traceback|File \"|\.py\b|/dev/shm|/proc|/tmp/|/run/|/usr/|avcodec|libav|ffmpeg|decord|pillow|werkzeug|gunicorn|"
    rb"python|flask|triton|errno|0x[0-9a-f]{6}",
    re.IGNORECASE,
)
QUICK_S, DECODING_S = 1.0, 5.0


class ResponseCheck:
    """Send requests to one stack and check status, error, connection, time, and what reached the app."""

    def __init__(self, stack: Stack, tap: Tap) -> None:
        self.stack, self.tap = stack, tap

    def __call__(
        self,
        sent: bytes,
        expected: str,
        *,
        within_s: float = DECODING_S,
        closed: bool = False,
        app: Sequence[int] = (0, 1),
        what: str = "",
    ) -> Reply:
        """Send `sent` and check the response.

        Args:
            sent: The request.
            expected: Status and error code, for instance "400 bad_request".
            within_s: Longest time to the response.
            closed: Whether the connection must be closed afterwards.
            app: How many requests may reach the app.
            what: Begins the message of a failed check.
        """
        before = len(self.tap)
        reply = exchange(self.stack.url, sent)
        reached = [request for request in self.tap.requests[before:] if not request.startswith(b"GET /healthz ")]
        received = f"{reply.answer.status} {reply.error.get('code', '')}".strip()
        assert received == expected, what
        assert reply.state in (("closed",) if closed else ("closed", "kept")), what
        assert reply.seconds <= within_s, what
        assert len(reached) in app, (what, reached)
        self._check_body(reply, what)
        return reply

    def _check_body(self, reply: Reply, what: str) -> None:
        answer, error = reply.answer, reply.error
        if answer.status >= 300 or not answer.status:
            assert set(json.loads(answer.body)) == {"error"}, what
            assert set(error) == {"code", "message", "request_id"} and error["message"], what
        if answer.status >= 300:
            assert answer.headers["content-type"].startswith("application/json"), what
            assert answer.headers["x-request-id"] == error["request_id"], what
        text = answer.body + repr(answer.headers).encode()
        assert not LEAKS.search(text.replace(b"rock python", b"").replace(b"pillow", b"")), what  # labels of ImageNet
        assert not any(str(path).encode() in text for path in (CHECKOUT, self.stack.run_dir)), what


def until_logged(stack: Stack, request_id: str, patience_s: float = 5.0) -> str:
    """Return the line of nginx's log with that id; nginx writes it after it has answered."""
    log, deadline = stack.run_dir / "logs" / "nginx-access.log", time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if request_id in line:
                return line
        time.sleep(0.05)
    return ""
