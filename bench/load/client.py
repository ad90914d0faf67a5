"""Load generator that costs the shared machine as little as possible.

closed loop: a number of clients, each sends again after its answer      what the service can do
open loop:   a rate of requests, answered or not                         what real traffic does
"""

import asyncio
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.load.open_loop import Exchange, exchanges

PATIENCE_S = 60.0
NO_ANSWER = 0  # status of a connection that was refused, reset, or closed without an answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one request; `sent_s` and `ended_s` are on the clock of `time.monotonic`."""

    status: int
    sent_s: float
    ended_s: float
    code: str = ""
    retry_after_s: int | None = None

    @property
    def seconds(self) -> float:
        """Return the time from sending to the end of the answer."""
        return self.ended_s - self.sent_s


@dataclass
class Target:
    """One request that is ready to be sent: POST of `body` to `url` with `headers`."""

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.address = (parts.hostname or "127.0.0.1", parts.port or 80)
        lines = [f"POST {parts.path or '/'}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        self.payload = "\r\n".join(lines).encode() + self.body


class _Exchange(asyncio.Protocol):
    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.received = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._payload)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def send(target: Target) -> Outcome:
    """Send the request once; failures become outcomes too."""
    began = time.monotonic()
    transport = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            transport, exchange = await asyncio.get_running_loop().create_connection(
                lambda: _Exchange(target.payload), *target.address
            )
            await exchange.ended
    except (OSError, TimeoutError):
        return Outcome(NO_ANSWER, began, time.monotonic())
    finally:
        if transport is not None:
            transport.abort()
    return _parsed(bytes(exchange.received), began, time.monotonic())


def _parsed(received: bytes, began: float, ended: float) -> Outcome:
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        return Outcome(NO_ANSWER, began, ended)
    status = int(head[9:12])
    if status == 200:
        return Outcome(status, began, ended)
    retry_after = [line[12:] for line in head.split(b"\r\n") if line[:12].lower() == b"retry-after:"]
    try:
        code = str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        code = "not json"
    return Outcome(status, began, ended, code, int(retry_after[0]) if retry_after else None)


async def closed_loop(target: Target | Sequence[Target], clients: int, seconds: float) -> list[Outcome]:
    """Run `clients` without pauses for `seconds`; several targets take turns."""
    ends, turns = time.monotonic() + seconds, _turns(target)

    async def client() -> list[Outcome]:
        outcomes = []
        while time.monotonic() < ends:
            outcomes.append(await send(next(turns)))
        return outcomes

    return [
        outcome
        for client_outcomes in await asyncio.gather(*(client() for _ in range(clients)))
        for outcome in client_outcomes
    ]


async def open_loop(target: Target | Sequence[Target], rate: float, seconds: float) -> list[Outcome]:
    """Send `rate` requests per second for `seconds`, evenly, and return when all are done.

    Outcomes are in the order of sending; several targets take turns.
    """
    targets = [target] if isinstance(target, Target) else target

    def sent(number: int) -> tuple[tuple[str, int], bytes]:
        turn = targets[number % len(targets)]
        return turn.address, turn.payload

    def run() -> list[Outcome]:
        ended = exchanges(sent, rate, round(rate * seconds), PATIENCE_S)
        # outcomes only: there may be too many answers to keep
        outcomes = {exchange.number: _outcome(exchange) for exchange in ended}
        return [outcomes[number] for number in sorted(outcomes)]

    return await asyncio.to_thread(run)


def _outcome(exchange: Exchange) -> Outcome:
    if exchange.failed:
        return Outcome(NO_ANSWER, exchange.sent_s, exchange.ended_s)
    return _parsed(bytes(exchange.received), exchange.sent_s, exchange.ended_s)


def _turns(target: Target | Sequence[Target]) -> Iterator[Target]:
    return itertools.cycle([target] if isinstance(target, Target) else target)


def quantile(seconds: Iterable[float], share: float) -> float | None:
    """Return the value that `share` of the values do not exceed, or None without values."""
    ordered: Sequence[float] = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
