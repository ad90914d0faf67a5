"""Sender of webhooks: one signed POST, with bounds on its time and on what is read of the answer."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpcore

from app.fetch.errors import FetchError
from app.fetch.network import addresses_of, pool, reason, resolve
from app.jobs.webhooks.hosts import AllowedHosts, RefusedUrl
from app.jobs.webhooks.outbox import Delivery

ATTEMPT_S = 15.0  # one attempt, from the look-up of the host to the end of the answer
MAX_ANSWER_BYTES = 16 << 10  # read of an answer; receivers may take it as an error when it is not read
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
    """Sender of events to `hosts`, checked again at each attempt, with the headers of `sign`; for one event loop."""

    def __init__(self, hosts: AllowedHosts, sign: SignatureHeaders) -> None:
        self._hosts, self._sign = hosts, sign
        self._tls = ssl.create_default_context()

    async def send(self, event: Delivery) -> Outcome:
        """Send an event once. A redirect is a failure: it could lead to a host that is not allowed."""
        try:
            target = self._hosts.check(event.url)
        except RefusedUrl as error:
            return Outcome(None, str(error), is_final=True)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                addresses = self._hosts.allowed(target, await addresses_of(target, resolve))
                if not addresses:
                    return Outcome(None, f"{target.host} has no public address: CLIPSTACK_WEBHOOKS needs !private")
                async with pool(addresses, self._tls) as connections:
                    return await self._post(event, connections)
        except TimeoutError:
            return Outcome(None, f"no answer within {ATTEMPT_S:g} s")
        except FetchError as error:
            return Outcome(None, error.message)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Outcome(None, reason(error))

    async def _post(self, event: Delivery, connections: httpcore.AsyncConnectionPool) -> Outcome:
        content = event.body.encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), "user-agent": USER_AGENT}
        headers |= self._sign(event)
        async with connections.stream("POST", event.url, headers=list(headers.items()), content=content) as response:
            remaining = MAX_ANSWER_BYTES
            async for part in response.aiter_stream():
                remaining -= len(part)
                if remaining < 0:
                    break
            if 200 <= response.status < 300:
                return Outcome(response.status)
            return Outcome(response.status, f"the receiver answered {response.status}", _retry_after_s(response))


def _retry_after_s(response: httpcore.Response) -> float | None:
    """Return the seconds in `Retry-After`; a date is ignored."""
    value = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    return float(value) if value.isdigit() and len(value) < 10 else None
