"""HTTP transport: returns responses, and raises the client's own errors instead of httpx's."""

import json
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import httpcore
import httpx

from ..errors import ConnectFailed, ServiceFailed, ServiceUnreachable, TimedOut
from ..loop_thread import run_in_thread
from .address import is_loopback, parse_url, ssl_context
from .response import Response, retry_after_s
from .sse import Event, parse_events
from .upload import Upload

CONNECT_TIMEOUT_S = 5.0
# Labels of a thousand classes with thumbnails stay below 1 MB
MAX_RESPONSE_BYTES = 32 * 1024 * 1024
MAX_CONNECTIONS = 64
UNSENT_BYTES = 128 * 1024
DOWNLOAD_BYTES = 1024 * 1024
# A connection for each request: the service may close an idle one just as a file is sent on it
ONE_REQUEST = {"Connection": "close"}


@dataclass(frozen=True)
class Request:
    """One HTTP request; `safe` means that repeating it is harmless, also if its answer was lost."""

    method: str
    path: str
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    safe: bool = False


class Transport:
    """Connections to the service at `url`.

    `timeout` is the longest silence in seconds. `headers` go with every request.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        verify: bool | str | os.PathLike[str] = True,
    ) -> None:
        self.url = url.rstrip("/")
        parts = parse_url(self.url)
        self._connect_s = min(timeout, CONNECT_TIMEOUT_S)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout, connect=self._connect_s),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            headers={"Accept": "application/json", "User-Agent": "clipstack-client", **(headers or {}), **ONE_REQUEST},
            # A proxy cannot reach this machine's loopback, whatever the environment says.
            trust_env=not is_loopback(parts.host),
            # Loading the system's certificates takes longer than a short request, and http needs none.
            verify=ssl_context(verify) if parts.scheme == "https" else False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, request: Request, upload: Upload | None = None) -> Response:
        """Send one request once and return its response, whatever its status.

        Raise ConnectFailed, TimedOut, or ServiceUnreachable if the connection broke, and ServiceFailed for an answer
        that is too large or garbled.
        """
        with self._translate_errors():
            watcher = EarlyResponseWatcher()
            async with self._http.stream(
                request.method,
                self.url + request.path,
                params=request.params,
                content=None if upload is None else watcher.until_response(upload.chunks()),
                headers={**(upload.headers if upload else {}), **request.headers},
                extensions={"trace": watcher.trace},
            ) as response:
                return _to_response(response, await _read_bounded(response))

    async def download(self, path: str, target: BinaryIO) -> Response:
        """Write the body of a 2xx response to `target` piece by piece; raise as `send` does.

        The returned response has a body only if its status is not 2xx.
        """
        with self._translate_errors():
            async with self._http.stream("GET", self.url + path) as response:
                if not response.is_success:
                    return _to_response(response, await _read_bounded(response))
                async for chunk in response.aiter_bytes(DOWNLOAD_BYTES):
                    await run_in_thread(target.write, chunk)
                return _to_response(response, b"")

    @asynccontextmanager
    async def events(self, path: str, silence_s: float) -> AsyncIterator[AsyncIterator[Event] | Response]:
        """Yield the server-sent events at `path`, or the response if it is no event stream; raise as `send` does.

        A stream that sends nothing for `silence_s` seconds, not even a comment, counts as broken.
        """
        with self._translate_errors():
            async with self._http.stream(
                "GET",
                self.url + path,
                headers={"Accept": "text/event-stream", "Cache-Control": "no-store"},
                timeout=httpx.Timeout(silence_s, connect=self._connect_s),
            ) as response:
                if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    async with aclosing(parse_events(response.aiter_lines())) as events:
                        yield events
                else:
                    yield _to_response(response, await _read_bounded(response))

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise ConnectFailed(
                f"no connection to {self.url} within {self._connect_s:g} seconds", code="connect_failed"
            ) from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise ConnectFailed(f"no connection to {self.url}: {_reason(error)}", code="connect_failed") from error
        except httpx.TimeoutException as error:
            raise TimedOut(f"{self.url} was silent for too long", code="timed_out") from error
        except httpx.TransportError as error:
            raise ServiceUnreachable(
                f"the connection to {self.url} broke: {_reason(error)}", code="connection_broken"
            ) from error
        except httpx.DecodingError as error:
            raise ServiceFailed(
                f"{self.url} sent a response that cannot be decoded", code="unexpected_answer"
            ) from error


class EarlyResponseWatcher:
    """Watcher of one connection that ends an upload as soon as the service responds."""

    def __init__(self) -> None:
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Receive httpcore's trace events of the connection."""
        if event == "connection.connect_tcp.complete":
            self._stream = details["return_value"]
            _limit_send_buffer(self._stream.get_extra_info("socket"))
        elif event == "connection.start_tls.complete":
            self._stream = None  # readable bytes may be TLS records, not a response

    async def until_response(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks until the service responds."""
        async for chunk in chunks:
            if self._stream is not None and self._stream.get_extra_info("is_readable"):
                # After a failed write httpcore reads the response, if there is one.
                raise httpcore.WriteError("the response came before the end of the upload")
            yield chunk


def _limit_send_buffer(connection: socket.socket | None) -> None:
    """Limit the kernel's send buffer, so that bytes counted as sent are really on their way."""
    if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


async def _read_bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise ServiceFailed(
                f"the response is longer than {MAX_RESPONSE_BYTES} bytes",
                code="unexpected_answer",
                status=response.status_code,
            )
    return bytes(content)


def _to_response(response: httpx.Response, body: bytes) -> Response:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    offset = response.headers.get("Upload-Offset", "")
    return Response(
        status=response.status_code,
        body=body,
        content=content if isinstance(content, dict) else {},
        request_id=response.headers.get("X-Request-Id"),
        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
        location=response.headers.get("Location"),
        cache=response.headers.get("X-Clipstack-Cache"),
        upload_offset=int(offset) if offset.isascii() and offset.isdecimal() else None,
    )


def _reason(error: BaseException) -> str:
    """Return the system's own message, for example `Connection refused`, from the innermost error that has one."""
    message = str(error).rpartition("] ")[2] or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS connection: {cause.reason or 'the server does not use TLS'}"
        if isinstance(cause, OSError) and cause.errno:
            # Only `strerror` describes errors of name resolution, which have negative numbers, and of Windows
            described = cause.errno < 0 or sys.platform == "win32"
            message = (cause.strerror or message) if described else os.strerror(cause.errno)
        # With several addresses, use the last one's error
        group: Sequence[BaseException] = getattr(cause, "exceptions", ())
        cause = (group[-1] if group else cause.__cause__) or cause.__context__
    return message
