"""One download: every redirect is checked like the first URL, and time, size, rate and redirects are bounded."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterable
from contextlib import AsyncExitStack

import httpcore

from app.errors import StorageFull
from app.fetch.errors import (
    FetchTimeout,
    SourceEncoded,
    SourceStatus,
    SourceTooLarge,
    SourceUnreachable,
    TooManyRedirects,
)
from app.fetch.messages import Limits
from app.fetch.network import CONNECT_S, Resolve, addresses_of, pool, reason, resolve
from app.fetch.policy import check_addresses, host_rule
from app.fetch.urls import WebAddress
from app.files import full_disk_errors, write_all
from app.settings.fetch_rules import FetchRules

MAX_REDIRECTS = 5
HEADERS_S = 10.0  # from the connection to the end of the response's headers
SILENCE_S = 10.0  # between two reads
MIN_BYTES_S = 8 << 10  # as for uploads (app/uploads/parser.py), measured over RATE_WINDOW_S
RATE_WINDOW_S = 10.0
BLOCK_BYTES = 1 << 20
REDIRECTS = frozenset((301, 302, 303, 307, 308))
_TIMEOUTS = {"connect": CONNECT_S, "read": SILENCE_S, "write": SILENCE_S, "pool": CONNECT_S}
_HEADERS = [
    (b"User-Agent", b"Clipstack"),
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"identity"),  # nothing is ever decompressed
    (b"Connection", b"close"),
]


class Sink:
    """Writes to a descriptor in blocks, in a thread; each block leaves `min_free_bytes` free on the disk.

    Attributes:
        received: Bytes passed to `write`.
    """

    def __init__(self, descriptor: int, min_free_bytes: int = 0) -> None:
        self._descriptor, self._min_free_bytes = descriptor, min_free_bytes
        self._block = bytearray()
        self.received = 0

    async def write(self, chunk: bytes) -> None:
        """Add bytes to the file; raises StorageFull."""
        self.received += len(chunk)
        self._block += chunk
        if len(self._block) >= BLOCK_BYTES:
            await self.finish()

    async def finish(self) -> None:
        """Write what is not written yet; raises StorageFull."""
        block, self._block = self._block, bytearray()
        if block:
            await asyncio.to_thread(self._write, block)

    def _write(self, block: bytearray) -> None:
        disk = os.fstatvfs(self._descriptor)
        if disk.f_bavail * disk.f_frsize < self._min_free_bytes:
            raise StorageFull
        with full_disk_errors():
            write_all(self._descriptor, block)


class Downloader:
    """Downloads what `rules` allow; `resolver` resolves host names, once a connection."""

    def __init__(self, rules: FetchRules, resolver: Resolve = resolve, context: ssl.SSLContext | None = None) -> None:
        self._rules, self._resolve = rules, resolver
        self._context = context or ssl.create_default_context()

    async def download(self, target: WebAddress, sink: Sink, limits: Limits) -> None:
        """Write the file at a URL to `sink`; raises the errors of app/fetch/errors.py."""
        try:
            async with asyncio.timeout(limits.seconds):
                for _ in range(MAX_REDIRECTS + 1):
                    redirect = await self._request(target, sink, limits)
                    if redirect is None:
                        return
                    target = redirect
        except TimeoutError:
            raise FetchTimeout(f"the download took longer than {limits.seconds:g} s") from None
        raise TooManyRedirects(f"the URL redirects more than {MAX_REDIRECTS} times")

    async def _request(self, target: WebAddress, sink: Sink, limits: Limits) -> WebAddress | None:
        """Write the file at a URL to `sink`, or return the target of its redirect."""
        rule = host_rule(self._rules, target)
        addresses = await addresses_of(target, self._resolve)
        check_addresses(target, addresses, rule)
        try:
            async with AsyncExitStack() as held:
                connections = await held.enter_async_context(pool(addresses, self._context))
                response = await _response(connections, target, held)
                if response.status in REDIRECTS and (location := _header(response, b"location")):
                    return target.redirected(location)
                _check(response, target, limits)
                await copy(response.aiter_stream(), sink, limits)
        except httpcore.TimeoutException:
            raise FetchTimeout(f"{target.host} did not answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise SourceUnreachable(f"{target.host} cannot be read: {reason(error)}") from error
        return None


async def _response(
    connections: httpcore.AsyncConnectionPool, target: WebAddress, held: AsyncExitStack
) -> httpcore.Response:
    """Return the response, of which the headers have come; `held` closes it."""
    url = httpcore.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
    )
    headers = [(b"Host", target.origin.partition("://")[2].encode()), *_HEADERS]
    try:
        async with asyncio.timeout(HEADERS_S):
            return await held.enter_async_context(
                connections.stream("GET", url, headers=headers, extensions={"timeout": _TIMEOUTS})
            )
    except TimeoutError:
        raise FetchTimeout(f"{target.host} sent no response within {HEADERS_S:g} s") from None


def _header(response: httpcore.Response, name: bytes) -> str:
    """Return a header's value, of several the first; "" without it."""
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _check(response: httpcore.Response, target: WebAddress, limits: Limits) -> None:
    """Raise the error of a response that is not the file."""
    if response.status != 200:
        raise SourceStatus(f"{target.host} answered with status {response.status}, not 200")
    encoding = _header(response, b"content-encoding").strip().lower()
    if encoding not in ("", "identity"):
        raise SourceEncoded(f"{target.host} sent the file as {encoding[:20]!r}: it must be sent as it is")
    length = _header(response, b"content-length")
    if length.isascii() and length.isdigit():
        check_length(int(length[:20]), limits)


async def copy(body: AsyncIterable[bytes], sink: Sink, limits: Limits) -> None:
    """Write a body to `sink`; raises SourceTooLarge or FetchTimeout."""
    since, before = time.monotonic(), 0
    async for chunk in body:
        check_length(sink.received + len(chunk), limits)
        await sink.write(chunk)
        elapsed = time.monotonic() - since
        if elapsed >= RATE_WINDOW_S:
            if sink.received - before < MIN_BYTES_S * elapsed:
                raise FetchTimeout(f"the download is slower than {MIN_BYTES_S >> 10} KiB/s")
            since, before = time.monotonic(), sink.received
    await sink.finish()


def check_length(length: int, limits: Limits) -> None:
    """Raise SourceTooLarge for a file of more bytes than the limit."""
    if length > limits.max_bytes:
        raise SourceTooLarge(f"the file is larger than the {limits.max_bytes >> 20} MiB allowed")
