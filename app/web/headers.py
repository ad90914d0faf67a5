"""The allowlist of request headers; the app never sees any other header."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# nginx sets these itself and overwrites what a client sends (nginx/snippets/web.conf, upload.conf)
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
        "Tus-Resumable", "Upload-Checksum", "Upload-Length", "Upload-Metadata", "Upload-Offset",
        "User-Agent", "X-Api-Key", "X-Clipstack-Relayed", "X-Csrf-Token", "X-Deadline-Ms", "X-File-Name",
    )
)  # fmt: skip
MOST_TOLD = 10  # header names in one log line, each cut to LETTERS characters
LETTERS = 40
MOST_OF_PATH = 200

log = logging.getLogger(__name__)


def variable(header: str) -> str:
    """Return the name of `header` in a WSGI environment."""
    return "HTTP_" + header.upper().replace("-", "_")


KNOWN = frozenset(map(variable, OF_NGINX | OF_CLIENTS))


class KnownHeaders:
    """A WSGI middleware that removes every request header that is not in KNOWN before it calls `app`."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the app with the known headers alone; log the header names at level DEBUG."""
        unknown = [name for name in environ if name.startswith("HTTP_") and name not in KNOWN]
        for name in unknown:
            del environ[name]
        if log.isEnabledFor(logging.DEBUG):
            names = sorted(name[:LETTERS] for name in environ if name.startswith("HTTP_"))
            line = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')[:MOST_OF_PATH]!r}"
            log.debug("request %s: %s, %s", environ.get("HTTP_X_REQUEST_ID", "-")[:64], line, " ".join(names))
            log.debug("left out: %d, %s", len(unknown), [name[:LETTERS] for name in unknown[:MOST_TOLD]])
        return self._app(environ, start_response)
