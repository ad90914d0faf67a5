"""Deadlines: sent by the client, counted from nginx's hand-over, enforced."""

import asyncio
import socket
import time

import pytest

from app.admission.deadline import HANDED_OVER, HEADER, MAX_MS, Deadline, deadline_from_headers
from app.admission.disconnect import connected
from app.errors import ClientDisconnected, DeadlineExceeded, InvalidParameter


def test_default_deadline_without_the_header() -> None:
    assert 29 < deadline_from_headers({}, 30).left_s <= 30


def test_the_header_is_milliseconds() -> None:
    assert 1 < deadline_from_headers({HEADER: "1500"}, 30).left_s <= 1.5


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", " 5", "٣", "soon", str(MAX_MS + 1), "9" * 30])
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=HEADER):
        deadline_from_headers({HEADER: text}, 30)


def test_wait_for_a_worker_counts() -> None:
    assert 8 < deadline_from_headers({HEADER: "10000", HANDED_OVER: f"{time.time() - 1.5:.3f}"}, 30).left_s < 8.51


@pytest.mark.parametrize("text", ["", "yesterday", "nan", "inf", "0", "in an hour"])
def test_implausible_nginx_clock_is_ignored(text: str) -> None:
    clock = text.replace("in an hour", f"{time.time() + 3600}")
    assert deadline_from_headers({HEADER: "10000", HANDED_OVER: clock}, 30).left_s > 9


def test_no_work_starts_after_the_deadline() -> None:
    Deadline(60).check("it waited")
    with pytest.raises(DeadlineExceeded, match="while it waited"):
        Deadline(0).check("it waited")


def test_running_work_is_cancelled() -> None:
    ended = []

    async def scenario() -> None:
        async with Deadline(0.01).enforced():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cleanly")

    with pytest.raises(DeadlineExceeded):
        asyncio.run(scenario())
    assert ended == ["cleanly"]


def test_other_timeout_errors_pass_through() -> None:
    async def scenario() -> None:
        async with Deadline(60).enforced():
            raise TimeoutError("another")

    with pytest.raises(TimeoutError, match="another"):
        asyncio.run(scenario())


def test_disconnect_cancels_the_work() -> None:
    ours, theirs = socket.socketpair()

    async def scenario() -> None:
        async with Deadline(60).enforced(), connected(ours):
            asyncio.get_running_loop().call_soon(theirs.close)
            await asyncio.Event().wait()

    with ours, pytest.raises(ClientDisconnected):
        asyncio.run(asyncio.wait_for(scenario(), 20))


def test_pipelined_bytes_do_not_cancel_the_work() -> None:
    ours, theirs = socket.socketpair()

    async def scenario() -> str:
        async with connected(ours):
            theirs.send(b"more")
            await asyncio.sleep(0.05)
            return "done"

    with ours, theirs:
        assert asyncio.run(scenario()) == "done"
        assert ours.recv(10) == b"more"
