"""Sender of webhooks: one signed POST, with bounds on its time and on what is read of the answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpcore

from app.jobs.webhooks.hosts import AllowedHosts, RefusedUrl, is_allowed_address
from app.jobs.webhooks.outbox import Delivery

ATTEMPT_S = 15.0  # one attempt, from the look-up of the host to the end of the answer
MAX_ANSWER_BYTES = 16 << 10  # read of an answer, so that its connection can be used again
MAX_CONNECTIONS = 16
IDLE_S = 5.0  # time for which an unused connection is kept
MAX_ADDRESSES = 4  # of one host that are tried
USER_AGENT = "Clipstack"
GONE = 410

SignatureHeaders = Callable[[Delivery], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one attempt; `error` is None when the receiver took the event."""

    status: int | None
    error: str | None = None
    retry_after_s: float | None = None
    is_final: bool = False  # no other attempt can succeed


class Sender:
    """Sender with a pool of connections; use it from one event loop.

    Args:
        hosts: The allowed receivers, checked again at each attempt.
        sign: Returns the headers that sign an event.
    """

    def __init__(self, hosts: AllowedHosts, sign: SignatureHeaders) -> None:
        self._hosts, self._sign = hosts, sign
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=IDLE_S,
            network_backend=_CheckedNetwork(hosts),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def send(self, event: Delivery) -> Outcome:
        """Send an event once. A redirect is a failure: it could lead to a host that is not allowed."""
        try:
            self._hosts.check(event.url)
        except RefusedUrl as error:
            return Outcome(None, str(error), is_final=True)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await self._post(event)
        except TimeoutError:
            return Outcome(None, f"no answer within {ATTEMPT_S:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Outcome(None, str(error) or type(error).__name__)

    async def _post(self, event: Delivery) -> Outcome:
        content = event.body.encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), "user-agent": USER_AGENT}
        headers |= self._sign(event)
        async with self._pool.stream("POST", event.url, headers=_bytes(headers), content=content) as response:
            remaining = MAX_ANSWER_BYTES
            async for part in response.aiter_stream():
                remaining -= len(part)
                if remaining < 0:
                    break
            if 200 <= response.status < 300:
                return Outcome(response.status)
            return Outcome(response.status, f"the receiver answered {response.status}", _retry_after_s(response))


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Network that looks a host up once and connects to that very address, if a receiver may have it."""

    def __init__(self, hosts: AllowedHosts) -> None:
        self._hosts, self._network = hosts, httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        name = host.strip("[]").lower().removesuffix(".")
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
        private = self._hosts.may_be_private(name, port)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        allowed = [address for address in addresses if is_allowed_address(address, private=private)]
        if not allowed:
            raise httpcore.ConnectError(f"{name} has no public address: its entry in CLIPSTACK_WEBHOOKS needs !private")
        failure: Exception = httpcore.ConnectError(f"{name} cannot be reached")
        for address in allowed[:MAX_ADDRESSES]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("a receiver cannot be a Unix socket")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


def _bytes(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _retry_after_s(response: httpcore.Response) -> float | None:
    """Return the seconds in `Retry-After`; a date is ignored."""
    value = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    return float(value) if value.isdigit() and len(value) < 10 else None
