"""Gunicorn's worker, whose own refusals are answered by nginx: in JSON, with the request's id and all headers.

And which ends at once where it cannot start, also when its master is dead.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import ConfigurationProblem, LimitRequestHeaders, ParseException
from gunicorn.workers.gthread import ThreadWorker

from app.auth.key_check import KeyCheckServer


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gthread, but for the words of an answer to what is no request, which would be HTML, and for how a start fails."""

    sockets: list[Any]

    def init_process(self) -> None:
        """Raises SystemExit where gunicorn would let any exception go on.

        It prints those, which fails when the master has been killed and nobody reads its pipe any more. With that the
        worker would come back as if it were the master, and wait half a minute for the other workers to end.
        """
        try:
            super().init_process()
        except Exception:
            self.log.exception("this worker ends")
            raise SystemExit(1 if self.booted else Arbiter.WORKER_BOOT_ERROR) from None

    def start_key_checks(self) -> None:
        """Serve the listener of key checks, where there is one, in its own threads instead of with requests."""
        web, *key_checks = self.sockets  # in the order of `bind` (deploy/gunicorn/config.py)
        self.sockets = [web]
        for listener in key_checks:
            KeyCheckServer(listener.sock, self.app.wsgi().extensions["clipstack.access"]).start()

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Has nginx answer from the address of that error (nginx/conf.d/site.conf); the log says why."""
        match exc:
            case LimitRequestHeaders():
                status, place = "431 Request Header Fields Too Large", "headers_too_large"
            case ParseException() if not isinstance(exc, ConfigurationProblem):
                status, place = "400 Bad Request", "bad_request"
            case _:
                status, place = "500 Internal Server Error", "internal"
                self.log.error("a request failed before it reached the app", exc_info=exc)
        self.log.debug("refused: %s", str(exc)[:200])
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\nX-Accel-Redirect: /_e/{place}\r\n\r\n"
        with suppress(OSError):  # who sent it may have gone
            client.sendall(head.encode())
