"""Connections to addresses that were resolved once: what was checked is what is connected to."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import TypeAlias

import httpcore

from app.fetch.addresses import Address
from app.fetch.errors import FetchTimeout, SourceUnreachable
from app.fetch.urls import WebAddress

DNS_S = 6.0
CONNECT_S = 5.0
MAX_ADDRESSES = 4  # of one host that are tried
Resolve: TypeAlias = Callable[[str, int], Awaitable[list[Address]]]


async def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host name in the order of the system's resolver; raises OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A scope id follows link-local addresses
    return list(dict.fromkeys(ip_address(str(info[4][0]).partition("%")[0]) for info in infos))


async def addresses_of(target: WebAddress, resolver: Resolve) -> list[Address]:
    """Return the addresses of a URL's host; raise SourceUnreachable without one, FetchTimeout if DNS is silent."""
    if target.literal is not None:
        return [target.literal]
    try:
        async with asyncio.timeout(DNS_S):
            found = await resolver(target.host, target.port)
    except (OSError, UnicodeError):
        found = []
    except TimeoutError:
        raise FetchTimeout(f"the name server did not answer for {target.host} within {DNS_S:g} s") from None
    if not found:
        raise SourceUnreachable(f"{target.host} has no address: check the host's name")
    return found


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Network of one connection: it goes to one of `addresses`, whatever name the connection is for."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses[:MAX_ADDRESSES]
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers; `host` is not resolved."""
        error: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
        raise error


def pool(addresses: Sequence[Address], context: ssl.SSLContext) -> httpcore.AsyncConnectionPool:
    """Return a pool of one connection to one of `addresses`; it uses no proxy and repeats nothing."""
    return httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=1,
        max_keepalive_connections=0,
        http1=True,
        http2=False,
        retries=0,
        network_backend=PinnedBackend(addresses),
    )


def reason(error: BaseException) -> str:
    """Return what broke a connection, in words that name no address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection can be made"
        if isinstance(cause, ConnectionRefusedError):
            return "it refuses connections"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ProtocolError):
        return "its response is not valid HTTP, or ends too early"
    return "the connection failed or broke"
