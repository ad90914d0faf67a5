"""Open loop that costs the shared machine as little as Python can: one thread, one system call a step.

asyncio needs 0.5 ms of processor time for a request of 40 KB, this loop half of that. At ten times the service's
capacity, asyncio would compete with the service for the processor.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

LONGEST_S = 0.5  # longest wait for an event, and so the largest delay of a timeout
SEND_BYTES = 1 << 20  # socket buffer for a whole request, which then needs one call
RECEIVED_BYTES = 1 << 16
BURST = 8  # requests sent at once when behind schedule, before answers are read


@dataclass(slots=True)
class Exchange:
    """One running request: its unsent bytes and its answer; times are on the clock of `time.monotonic`."""

    number: int
    socket: socket.socket
    left: memoryview
    sent_s: float
    ended_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    failed: bool = False


def exchanges(
    payloads: Callable[[int], tuple[tuple[str, int], bytes]], rate: float, count: int, patience_s: float
) -> Iterator[Exchange]:
    """Send `count` requests, `rate` per second, each on its own connection; yield each when it is over.

    `payloads` returns the (host, port) and the bytes for each number. An exchange has `failed` if it could not connect,
    or was not answered completely within `patience_s`. A connection that was cut off keeps what it received.
    """
    events, under_way = select.epoll(), dict[int, Exchange]()
    waiting = deque[Exchange]()  # in the order of sending; finished ones are dropped from the front
    began, number = time.monotonic(), 0
    try:
        while number < count or under_way:
            for _ in range(BURST):
                if number == count or began + number / rate > time.monotonic():
                    break
                exchange = _begin(number, *payloads(number))
                number += 1
                if exchange.failed:
                    yield exchange
                    continue
                under_way[exchange.socket.fileno()] = exchange
                waiting.append(exchange)
                events.register(exchange.socket, select.EPOLLIN | (select.EPOLLOUT if exchange.left else 0))
            due_s = began + number / rate - time.monotonic() if number < count else LONGEST_S
            for descriptor, event_mask in events.poll(max(0.0, min(due_s, LONGEST_S))):
                exchange = under_way[descriptor]
                if _advance(exchange, event_mask, events):
                    events.unregister(descriptor)
                    yield _finish(under_way.pop(descriptor))
            while waiting and (waiting[0].ended_s or waiting[0].sent_s + patience_s < time.monotonic()):
                late = waiting.popleft()
                if not late.ended_s:
                    late.failed = True
                    events.unregister(late.socket)
                    yield _finish(under_way.pop(late.socket.fileno()))
    finally:
        events.close()
        for exchange in under_way.values():
            exchange.socket.close()


def _begin(number: int, address: tuple[str, int], payload: bytes) -> Exchange:
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
    exchange = Exchange(number, connection, memoryview(payload), time.monotonic())
    try:
        with suppress(BlockingIOError):  # on loopback the connection is there at once anyway
            connection.connect(address)
    except OSError:
        exchange.failed = True
        return _finish(exchange)
    _send(exchange)
    return exchange


def _send(exchange: Exchange) -> None:
    try:
        exchange.left = exchange.left[exchange.socket.send(exchange.left) :]
    except BlockingIOError:
        pass
    except OSError:  # closed before everything was sent; the answer may have arrived
        exchange.left = exchange.left[:0]


def _advance(exchange: Exchange, what: int, events: select.epoll) -> bool:
    """Send and receive what is possible; return whether the exchange is over."""
    if what & select.EPOLLOUT:
        _send(exchange)
        if not exchange.left:
            events.modify(exchange.socket, select.EPOLLIN)
    if not what & ~select.EPOLLOUT:
        return False
    try:
        received = exchange.socket.recv(RECEIVED_BYTES)
    except BlockingIOError:
        return False
    except OSError:
        return True
    exchange.received += received
    return not received


def _finish(exchange: Exchange) -> Exchange:
    exchange.ended_s = time.monotonic()
    exchange.socket.close()
    return exchange
