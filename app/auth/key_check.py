"""The key check that nginx makes before it receives the body of an upload.

Each web worker answers key checks in dedicated threads, on a socket with a backlog of its own, so busy request
threads cannot delay them. nginx refuses the upload when no check answers (nginx/snippets/key.conf).
"""

import logging
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from flask import Request

from app.auth.authenticator import Authenticator
from app.errors import ClipstackError, RateLimited, TooManyRequests, Unauthorized
from app.settings import UPLOAD_LIMITS

# nginx sends only the headers that can carry a key, each at most 8 KB (nginx/conf.d/limits.conf)
MAX_HEAD_BYTES = 64 << 10
HEAD_TIMEOUT_S = 1.0  # nginx sends the whole head at once
THREADS = 8  # per worker: checks of a busy worker wait for the interpreter's lock and must not wait in series
RETRY_DELAY_S = 0.1  # after a failed accept, for example without a free file descriptor
TRANSFER_RESERVE = 2  # uploads that may be in transfer while all permitted ones are processed
PASSED_HEADERS = {"X-Key-Check": "passed"}
PHRASES = {204: "No Content", 401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}

log = logging.getLogger(__name__)


def check_key(authenticator: Authenticator, request: Request) -> tuple[int, Mapping[str, str]]:
    """Decide whether nginx may receive the body of `request`; count nothing.

    Returns the status and headers of the response: 204 to continue, 401 without a valid key, 403 when the key is over
    its limits (`auth_request` passes on no other refusal), 503 when the key cannot be checked.
    """
    if not authenticator.required:
        return 204, PASSED_HEADERS
    try:
        key, _ = authenticator.authenticate(request)
        if request.headers.get("X-Asked-Method") == "POST":
            authenticator.check(key)
            limit = upload_limit(authenticator.max_concurrent(key))
            return 204, PASSED_HEADERS | {"X-Accel-Redirect": f"/_uploads/{limit}/{key.id}"}
    except Unauthorized:
        return 401, {"WWW-Authenticate": "Bearer"}
    except TooManyRequests as error:
        headers = error.headers if isinstance(error, RateLimited) else {}
        return 403, {"X-Come-Back": str(error.retry_after_s), "X-Refusal": error.message, **headers}
    except (ClipstackError, OSError) as error:
        log.warning("a key cannot be checked: %s", error)
        return 503, {}
    return 204, PASSED_HEADERS


def upload_limit(concurrent: int) -> int:
    """Return nginx's upload limit for a key with `concurrent` slots: the next step that leaves RECEIVED more."""
    return next((limit for limit in UPLOAD_LIMITS if limit >= concurrent + TRANSFER_RESERVE), UPLOAD_LIMITS[-1])


class KeyCheckServer:
    """A server for key checks on `listener`, which other workers may share, until the socket is closed."""

    def __init__(self, listener: socket.socket, authenticator: Authenticator) -> None:
        self._listener, self._authenticator = listener, authenticator

    def start(self) -> None:
        """Start the threads. They are daemons: a stopping worker checks keys until its process ends."""
        self._listener.setblocking(True)
        for number in range(THREADS):
            threading.Thread(target=self._serve, name=f"key-check-{number}", daemon=True).start()

    def _serve(self) -> None:
        while self._listener.fileno() >= 0:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                log.warning("no key check can be accepted: %s", error)
                time.sleep(RETRY_DELAY_S)
                continue
            with connection, suppress(OSError):  # nginx has gone
                self._respond(connection)

    def _respond(self, connection: socket.socket) -> None:
        connection.settimeout(HEAD_TIMEOUT_S)
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < MAX_HEAD_BYTES and (part := connection.recv(65536)):
            head += part
        try:
            status, headers = check_key(self._authenticator, Request(_environ(head)))
        except Exception:
            log.exception("a key check failed")
            status, headers = 503, {}
        lines = [f"HTTP/1.1 {status} {PHRASES[status]}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())


def _environ(head: bytes) -> dict[str, str]:
    """Return the WSGI environment of a request's head as nginx writes it: one line a header, none folded."""
    environ = {"REQUEST_METHOD": "GET"}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        environ["HTTP_" + name.upper().replace("-", "_")] = value.strip()
    return environ
