"""Gunicorn worker whose own errors nginx renders as JSON with the request id and all headers.

It also exits at once when it cannot start, even if its master is dead.
"""

import socket
from contextlib import suppress
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import ConfigurationProblem, LimitRequestHeaders, ParseException
from gunicorn.workers.gthread import ThreadWorker

from app.auth.key_check import KeyCheckServer


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threaded worker with JSON error responses and a prompt exit after a failed start."""

    sockets: list[Any]

    def init_process(self) -> None:
        """Run the worker; exit instead of letting an exception propagate.

        Gunicorn prints the exception, which fails when the master was killed and nobody reads the pipe any more. The
        worker would then continue as if it were the master and wait half a minute for the other workers to exit.

        Raises:
            SystemExit: The worker could not start or failed while it ran.
        """
        try:
            super().init_process()
        except Exception:
            self.log.exception("this worker ends")
            raise SystemExit(1 if self.booted else Arbiter.WORKER_BOOT_ERROR) from None

    def start_key_checks(self) -> None:
        """Serve the key-check listener, if there is one, in its own threads."""
        web, *key_checks = self.sockets  # in the order of `bind` (deploy/gunicorn/config.py)
        self.sockets = [web]
        for listener in key_checks:
            KeyCheckServer(listener.sock, self.app.wsgi().extensions["Authenticator"]).start()

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Send nginx to the internal location that renders this error (nginx/conf.d/site.conf), and log the cause."""
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
        with suppress(OSError):  # the client may have disconnected
            client.sendall(head.encode())
