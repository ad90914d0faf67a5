"""The load generator, against a server that answers, refuses, sends garbage or nothing."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bench.load.client import NO_ANSWER, Outcome, Target, closed_loop, open_loop, quantile, send

REFUSAL = b'{"error": {"code": "overloaded"}}'
LATE_S = 1.0  # longer than sending all requests takes
ANSWERS = {
    b"good": b"HTTP/1.1 200 OK\r\n\r\n{}",
    b"refused": b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\n\r\n" + REFUSAL,
    b"html": b"HTTP/1.1 500 Oh\r\n\r\n<html>",
    b"silent": b"",
}


def served(use: Callable[[str], Coroutine[Any, Any, Any]]) -> Any:
    """Call `use` with the address of a server whose answer depends on the request, and return its result."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            if body == b"late":
                await asyncio.sleep(LATE_S)
            writer.write(ANSWERS.get(body, ANSWERS[b"good"]))
            await writer.drain()
        finally:
            writer.close()

    async def run() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await use(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?a=b")

    return asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize(
    ("body", "status", "code", "retry_after_s"),
    [
        (b"good", 200, "", None),
        (b"refused", 503, "overloaded", 7),
        (b"html", 500, "not json", None),
        (b"silent", NO_ANSWER, "", None),
    ],
)
def test_outcome_of_a_request(body: bytes, status: int, code: str, retry_after_s: int | None) -> None:
    outcome: Outcome = served(lambda url: send(Target(url, body, {"X-A": "b"})))
    assert (outcome.status, outcome.code, outcome.retry_after_s) == (status, code, retry_after_s)


def test_refused_connection_is_no_answer() -> None:
    assert asyncio.run(send(Target("http://127.0.0.1:9/", b""))).status == NO_ANSWER


def test_closed_loop_sends_repeatedly() -> None:
    outcomes = served(lambda url: closed_loop(Target(url, b"good"), 3, 0.2))
    assert len(outcomes) > 3 and {outcome.status for outcome in outcomes} == {200}


def test_open_loop_sends_the_given_number() -> None:
    assert len(served(lambda url: open_loop(Target(url, b"good"), 100, 0.3))) == 30


def test_open_loop_reports_results_in_order() -> None:
    bodies = [b"good", b"refused", b"silent", b"html"]
    result = served(lambda url: open_loop([Target(url, body) for body in bodies], 200, 0.04))
    assert [outcome.status for outcome in result] == [200, 503, NO_ANSWER, 500] * 2
    assert [outcome.sent_s for outcome in result] == sorted(outcome.sent_s for outcome in result)


def test_open_loop_keeps_its_rate_with_slow_answers() -> None:
    began = time.monotonic()
    result = served(lambda url: open_loop(Target(url, b"late"), 50, 0.4))
    late_s = [outcome.sent_s - result[0].sent_s - number / 50 for number, outcome in enumerate(result)]
    assert min(late_s) > -0.01 and max(late_s) < LATE_S  # never early, and not an answer's time late
    assert result[-1].sent_s < min(outcome.ended_s for outcome in result)
    assert time.monotonic() - began < 10 and {outcome.status for outcome in result} == {200}


def test_open_loop_times_out_silent_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.client.PATIENCE_S", 0.2)
    (result,) = served(lambda url: open_loop(Target(url, b"late"), 10, 0.1))
    assert result.status == NO_ANSWER and result.seconds >= 0.2


def test_open_loop_without_a_server_ends() -> None:
    result = asyncio.run(open_loop(Target("http://127.0.0.1:9/", b""), 100, 0.05))
    assert [outcome.status for outcome in result] == [NO_ANSWER] * 5


def test_a_large_request_is_sent_whole() -> None:
    (result,) = served(lambda url: open_loop(Target(url, bytes(8 << 20)), 10, 0.1))
    assert result.status == 200


def test_quantiles() -> None:
    assert (quantile([], 0.5), quantile([1, 3, 2], 0.5), quantile(range(100), 0.99)) == (None, 2, 99)
