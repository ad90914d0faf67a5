"""Gunicorn's worker, whose own refusals are answered by nginx: in JSON, with the request's id and all headers."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from gunicorn.http.errors import ConfigurationProblem, LimitRequestHeaders, ParseException
from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gthread, but for the words of an answer to what is no request, which would be HTML."""

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
