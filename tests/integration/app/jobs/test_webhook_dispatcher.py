"""The dispatcher and its sender with a real receiver: signatures, failures, redirects, slow and gone receivers."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.jobs.storage.store import now
from app.jobs.webhooks import dispatcher, sender, signing
from app.jobs.webhooks.dispatcher import Dispatcher
from app.jobs.webhooks.events import Message, new_test_message
from app.jobs.webhooks.hosts import AllowedHosts
from app.jobs.webhooks.outbox import Delivery, Outbox
from app.jobs.webhooks.sender import Sender
from tests.support.stacks import until
from tests.support.webhook_receiver import Receiver, receiving

SECRET = signing.encode(bytes(range(32)))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.secret = SECRET
        yield receiver


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path, list)
    yield outbox
    outbox.close()


@asynccontextmanager
async def dispatching(outbox: Outbox, hosts: str) -> AsyncIterator[None]:
    def sign(event: Delivery) -> dict[str, str]:
        return signing.signature_headers([SECRET], event.owner, event.id, event.body)

    stopping = asyncio.Event()
    allowed = AllowedHosts(hosts)
    task = asyncio.create_task(Dispatcher(outbox, Sender(allowed, sign), 86400).run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


def event(url: str, number: int = 0, job: str = "a" * 24) -> Message:
    return new_test_message("", url, now())._replace(type="job.started", job=job, number=number)


def deliver(outbox: Outbox, hosts: str, condition: Callable[[], object]) -> None:
    async def run() -> None:
        async with dispatching(outbox, hosts):
            await asyncio.to_thread(until, condition, 20)

    asyncio.run(run())


def states(outbox: Outbox) -> list[str]:
    return sorted(item.state for item in outbox.newest(100, None, None))


def test_event_arrives_signed_and_once(receiver: Receiver, outbox: Outbox) -> None:
    message = event(f"{receiver.origin}/hook?a=b")
    outbox.add([message])
    deliver(outbox, receiver.entry, lambda: states(outbox) == ["delivered"])
    assert [(item.id, item.body) for item in receiver.delivered] == [(message.id, message.body)]
    assert receiver.headers[0]["content-type"] == "application/json"
    record = outbox.find(message.id, None)
    assert record is not None and (record.attempts, record.status, record.error) == (1, 204, None)


def test_failed_event_is_retried_with_the_same_id(
    receiver: Receiver, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([500, 429, 204])
    receiver.answer = lambda: (next(answers), {})
    monkeypatch.setattr(dispatcher, "next_delay_s", lambda attempts, retry_after_s: 0.05)
    outbox.add([event(receiver.origin)])
    deliver(outbox, receiver.entry, lambda: states(outbox) == ["delivered"])
    assert len(receiver.delivered) == 3
    assert len({(item.id, item.body) for item in receiver.delivered}) == 1
    assert outbox.newest(1, None, None)[0].attempts == 3


def test_retry_after_delays_the_next_attempt(receiver: Receiver, outbox: Outbox) -> None:
    receiver.answer = lambda: (503, {"Retry-After": "3600"})
    outbox.add([event(receiver.origin)])
    deliver(outbox, receiver.entry, lambda: outbox.newest(1, None, None)[0].attempts == 1)
    (record,) = outbox.newest(1, None, None)
    assert record.status == 503 and 3500 < record.due - time.time() <= 3600


def test_redirects_are_not_followed(receiver: Receiver, outbox: Outbox) -> None:
    receiver.answer = lambda: (302, {"Location": f"{receiver.origin}/elsewhere"})
    outbox.add([event(receiver.origin)])
    deliver(outbox, receiver.entry, lambda: outbox.newest(1, None, None)[0].attempts == 1)
    assert len(receiver.delivered) == 1 and outbox.newest(1, None, None)[0].status == 302


def test_gone_receiver_ends_all_its_events(receiver: Receiver, outbox: Outbox) -> None:
    receiver.answer = lambda: (410, {})
    outbox.add([event(receiver.origin, number) for number in range(3)])
    deliver(outbox, receiver.entry, lambda: states(outbox) == ["dead"] * 3)
    assert len(receiver.delivered) == 1


def test_test_event_is_tried_once(receiver: Receiver, outbox: Outbox) -> None:
    receiver.answer = lambda: (500, {})
    outbox.add([new_test_message("", receiver.origin, now())])
    deliver(outbox, receiver.entry, lambda: states(outbox) == ["dead"])
    assert len(receiver.delivered) == 1


def test_host_that_is_no_longer_allowed_gets_no_event(receiver: Receiver, outbox: Outbox) -> None:
    outbox.add([event(receiver.origin)])
    deliver(outbox, "hooks.example.com", lambda: states(outbox) == ["dead"])
    assert receiver.delivered == []
    assert "CLIPSTACK_WEBHOOKS" in (outbox.newest(1, None, None)[0].error or "")


def test_wildcard_reaches_no_internal_address(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    real = asyncio.BaseEventLoop.getaddrinfo

    async def resolve(self: asyncio.BaseEventLoop, host: str, port: int, **options: int) -> object:
        return await real(self, "127.0.0.1", port, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    outbox.add([event("https://rebound.example.com/")])
    deliver(outbox, "*.example.com", lambda: outbox.newest(1, None, None)[0].attempts == 1)
    assert "no public address" in (outbox.newest(1, None, None)[0].error or "")


def test_slow_receiver_delays_no_other(receiver: Receiver, outbox: Outbox) -> None:
    released = threading.Event()

    def wait() -> tuple[int, dict[str, str]]:
        released.wait(10)
        return 204, {}

    with receiving() as slow:
        slow.answer = wait
        outbox.add([event(slow.origin, job=f"{number:024}") for number in range(20)])
        outbox.add([event(receiver.origin)])

        def arrived() -> bool:
            return len(receiver.delivered) == 1 and len(slow.delivered) == dispatcher.PER_HOST

        try:
            deliver(outbox, f"{receiver.entry},{slow.entry}", arrived)
        finally:
            released.set()


def test_slow_answer_ends_at_the_timeout(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "ATTEMPT_S", 0.5)
    stopping = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not stopping.wait(0.05):
                try:
                    connection.sendall(b"X-Slow: 1\r\n")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
        outbox.add([event(origin)])
        try:
            deliver(outbox, f"{origin}!private", lambda: outbox.newest(1, None, None)[0].attempts == 1)
        finally:
            stopping.set()
            thread.join()
    assert "no answer within 0.5 s" in (outbox.newest(1, None, None)[0].error or "")


def test_endless_answer_is_cut_off(outbox: Outbox) -> None:
    def flood(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            try:
                while True:
                    connection.sendall(bytes(65536))
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=flood, args=(server,))
        thread.start()
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
        outbox.add([event(origin)])
        deliver(outbox, f"{origin}!private", lambda: states(outbox) == ["delivered"])
        thread.join(10)
        assert not thread.is_alive()


def test_unreachable_receiver_is_named(outbox: Outbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
    outbox.add([event(origin)])
    deliver(outbox, f"{origin}!private", lambda: outbox.newest(1, None, None)[0].attempts == 1)
    record = outbox.newest(1, None, None)[0]
    assert record.status is None and record.error
