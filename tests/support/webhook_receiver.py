"""A receiver of webhooks on a free port: verifies signatures and keeps deliveries."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Delivered:
    """One delivery."""

    id: str
    type: str
    job: str | None
    percent: float | None
    body: str
    at: float = field(default_factory=time.monotonic)


class Receiver(ThreadingHTTPServer):
    """Keep the deliveries in the order of their arrival.

    `answer` returns the status and headers of the next answer; it may also wait.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secret = ""
        self.delivered: list[Delivered] = []
        self.headers: list[Mapping[str, str]] = []
        self.answer: Callable[[], tuple[int, Mapping[str, str]]] = lambda: (204, {})

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def entry(self) -> str:
        """Return the entry of CLIPSTACK_WEBHOOKS that allows this receiver."""
        return f"{self.origin}!private"

    def types(self, job: str | None) -> list[str]:
        """Return the types of a job's events, without repeats."""
        ids: dict[str, str] = {}
        for delivery in self.delivered:
            if delivery.job == job:
                ids.setdefault(delivery.id, delivery.type)
        return list(ids.values())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that a killed sender broke."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: Receiver

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = dict(self.headers)
        if self.server.secret:
            Webhook(self.server.secret).verify(content, headers)
        body = json.loads(content)
        data = body["data"]
        names = (headers["webhook-id"], body["type"], data.get("id"), data.get("percent"))
        self.server.delivered.append(Delivered(*names, content))
        self.server.headers.append(headers)
        status, answer_headers = self.server.answer()
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | dict(answer_headers)).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
