"""Which of a request's headers the app sees: those it knows. Whatever else a client sends ends here."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# nginx's own, which it sets itself whatever a client says (nginx/snippets/web.conf, upload.conf)
OF_NGINX = frozenset(
    (
        "X-Asked-Method", "X-Forwarded-For", "X-Forwarded-Proto", "X-Handed-Over", "X-Request-Id", "X-Upload-Length",
        "X-Upload-Path",
    )
)  # fmt: skip
OF_CLIENTS = frozenset(
    (
        "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection",
        "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Host", "Idempotency-Key", "If-Match",
        "If-Modified-Since", "If-None-Match", "If-Range", "Last-Event-Id", "Origin", "Pragma", "Range", "Referer",
        "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Traceparent", "Tracestate", "Transfer-Encoding",
        "User-Agent", "X-Api-Key", "X-Csrf-Token", "X-Deadline-Ms", "X-File-Name",
    )
)  # fmt: skip
MOST_TOLD = 10  # names of headers in one line of the log, and letters of each
LETTERS = 40
MOST_OF_PATH = 200

log = logging.getLogger(__name__)


def variable(header: str) -> str:
    """The name of a header in a WSGI environment."""
    return "HTTP_" + header.upper().replace("-", "_")


KNOWN = frozenset(map(variable, OF_NGINX | OF_CLIENTS))


class KnownHeaders:
    """A WSGI application whose environment has no headers but the known ones; `app` is the one behind it."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        unknown = [name for name in environ if name.startswith("HTTP_") and name not in KNOWN]
        for name in unknown:
            del environ[name]
        if log.isEnabledFor(logging.DEBUG):
            told = sorted(name[:LETTERS] for name in environ if name.startswith("HTTP_"))
            line = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')[:MOST_OF_PATH]!r}"
            log.debug("request %s: %s, %s", environ.get("HTTP_X_REQUEST_ID", "-")[:64], line, " ".join(told))
            log.debug("left out: %d, %s", len(unknown), [name[:LETTERS] for name in unknown[:MOST_TOLD]])
        return self._app(environ, start_response)
