"""Retries of requests while Triton is down."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import NotReady
from app.inference import retry
from app.inference.retry import TritonOutage
from app.inference.triton_errors import TritonUnavailable


class Restarted:
    """A call that fails the first `times` times."""

    def __init__(self, times: float) -> None:
        self.times = times

    async def ask(self) -> str:
        if self.times > 0:
            self.times -= 1
            raise TritonUnavailable("away")
        return "scores"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_DELAY_S", 0.0)
    monkeypatch.setattr(retry, "MIN_RETRY_S", 0.0)


def test_a_restart_is_waited_for() -> None:
    triton = Restarted(times=3)
    assert asyncio.run(TritonOutage(60).retry_while_unavailable(triton.ask)) == "scores"
    assert triton.times == 0


def test_outage_fails_requests_fast_after_patience() -> None:
    async def scenario() -> None:
        away, triton = TritonOutage(0.05), Restarted(times=float("inf"))
        started = asyncio.get_running_loop().time()
        with pytest.raises(TritonUnavailable):
            await away.retry_while_unavailable(triton.ask)
        assert asyncio.get_running_loop().time() - started >= 0.05
        last = Restarted(times=1)
        with pytest.raises(TritonUnavailable):
            await away.retry_while_unavailable(last.ask)
        assert last.times == 0, "it was called more than once"

    asyncio.run(scenario())


def test_outage_time_resets_after_recovery() -> None:
    async def scenario() -> None:
        away = TritonOutage(0.05)
        away.record_failure()
        await asyncio.sleep(0.06)  # the outage was this long ago
        away.record_failure()
        with pytest.raises(TritonUnavailable):
            await away.retry_while_unavailable(Restarted(times=1).ask)
        away.record_success()
        assert await away.retry_while_unavailable(Restarted(times=1).ask) == "scores"

    asyncio.run(scenario())


def test_answer_from_a_cache_does_not_end_an_outage() -> None:
    async def scenario() -> None:
        away = TritonOutage(0.05)
        away.record_failure()
        assert await away.retry_while_unavailable(Restarted(times=0).ask) == "scores"
        await asyncio.sleep(0.06)
        last = Restarted(times=1)
        with pytest.raises(TritonUnavailable):
            await away.retry_while_unavailable(last.ask)

    asyncio.run(scenario())


def test_old_outage_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "MIN_RETRY_S", 60.0)
    away = TritonOutage(0.0)
    away.record_failure()
    assert asyncio.run(away.retry_while_unavailable(Restarted(times=3).ask)) == "scores"


def test_other_errors_are_raised_at_once() -> None:
    async def call() -> None:
        raise NotReady("this model does not answer")

    with pytest.raises(NotReady, match="this model"):
        asyncio.run(TritonOutage(60).retry_while_unavailable(call))
