"""Admission: limits of running and waiting requests, 503 beyond them, and Retry-After."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app.admission.controller import MAX_RETRY_S, SPARE_PLACES, Admission, Flags
from app.admission.deadline import Deadline
from app.admission.flags import EVERYBODY, RejectFlags, UploadWaitingFlag
from app.admission.queue import Bounds, Lane
from app.errors import Overloaded, TooManyRequests


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


async def held(admission: Admission, until: asyncio.Event, lane: Lane = Lane.SHORT, deadline_s: float = 60) -> None:
    async with admission.permit(lane, Deadline(deadline_s)):
        await until.wait()


async def filled(admission: Admission, until: asyncio.Event, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(held(admission, until)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_full_queue_refuses_at_once() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=1, max_queue=1, timeout_s=60), asyncio.Event()
        tasks = await filled(admission, until, 2)
        with pytest.raises(Overloaded):
            await held(admission, until)
        until.set()
        await asyncio.gather(*tasks)

        assert admission.facts() == {"limit": 1, "at_work": 0, "waiting": 0, "admitted": 2, "refused": 1}

    run(scenario())


def test_permit_knows_whether_it_runs_alone() -> None:
    async def scenario() -> None:
        admission = Admission(max_running=4, max_queue=1, timeout_s=60)
        async with admission.permit(Lane.SHORT, Deadline(60)) as first:
            assert first.is_alone
            async with admission.permit(Lane.SHORT, Deadline(60)) as second:
                assert not (first.is_alone or second.is_alone)
            assert first.is_alone

    run(scenario())


def test_queue_timeout_frees_the_place() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=1, max_queue=1, timeout_s=0.01), asyncio.Event()
        tasks = await filled(admission, until, 1)
        for _ in range(3):
            with pytest.raises(Overloaded, match="waited too long"):
                await held(admission, until)
        assert admission.facts()["waiting"] == 0
        until.set()
        await asyncio.gather(*tasks)
        await held(admission, until)

    run(scenario())


def test_jobs_yield_only_to_waiting_uploads(tmp_path: Path) -> None:
    async def scenario() -> None:
        waiting = UploadWaitingFlag(tmp_path / "waiting")
        admission, until = (
            Admission(max_running=1, max_queue=1, timeout_s=60, flags=Flags(waiting=waiting)),
            asyncio.Event(),
        )
        tasks = await filled(admission, until, 1)
        assert not waiting.is_recent()
        tasks += await filled(admission, until, 1)
        assert waiting.is_recent()
        until.set()
        await asyncio.gather(*tasks)

    run(scenario())


def test_long_videos_may_use_half_of_the_queue() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=1, max_queue=4, timeout_s=60), asyncio.Event()
        tasks = await filled(admission, until, 1)
        tasks += [asyncio.ensure_future(held(admission, until, Lane.LONG)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await held(admission, until, Lane.LONG)
        tasks.append(asyncio.ensure_future(held(admission, until, Lane.PICTURE)))
        await asyncio.sleep(0)
        until.set()
        await asyncio.gather(*tasks)

    run(scenario())


async def worked(admission: Admission, seconds: float, count: int) -> None:
    """Let the controller learn how long a request takes."""
    for _ in range(count):
        async with admission.permit(Lane.SHORT, Deadline(60)):
            await asyncio.sleep(seconds)


def test_retry_after_covers_the_queue() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=1, max_queue=30, timeout_s=60), asyncio.Event()
        await worked(admission, 0.1, 3)
        tasks = await filled(admission, until, 31)
        with pytest.raises(Overloaded) as refused:
            await held(admission, until)
        until.set()
        await asyncio.gather(*tasks)

        assert 2 <= (refused.value.retry_after_s or 0) <= MAX_RETRY_S

    run(scenario())


def test_impossible_deadline_is_refused_at_once() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=1, max_queue=30, timeout_s=60), asyncio.Event()
        await worked(admission, 0.1, 3)
        tasks = await filled(admission, until, 11)
        with pytest.raises(Overloaded, match="in the time"):
            await held(admission, until, deadline_s=0.5)
        tasks += [asyncio.ensure_future(held(admission, until, deadline_s=30))]
        until.set()
        await asyncio.gather(*tasks)

    run(scenario())


def test_requests_are_refused_when_all_threads_are_in_use() -> None:
    admission = Admission(max_running=1, max_queue=1, timeout_s=60)
    with admission.admit():
        with admission.admit():
            began = time.monotonic()
            with pytest.raises(Overloaded), admission.admit():
                pass
            assert time.monotonic() - began < 1
        with admission.admit():
            pass


def test_long_videos_leave_a_decoder_for_others() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=8, max_queue=4, timeout_s=60, bounds=Bounds(long=1)), asyncio.Event()
        long = [asyncio.ensure_future(held(admission, until, Lane.LONG)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (admission.facts()["at_work"], admission.facts()["waiting"]) == (1, 1)
        async with admission.permit(Lane.PICTURE, Deadline(60)):
            assert not any(task.done() for task in long)
        until.set()
        await asyncio.gather(*long)
        assert (admission.facts()["at_work"], admission.facts()["waiting"]) == (0, 0)

    run(scenario())


def test_key_may_use_half_of_a_worker() -> None:
    admission = Admission(2, 6, 10)
    with ExitStack() as inside:
        for _ in range(4):
            inside.enter_context(admission.admit("greedy"))
        with pytest.raises(TooManyRequests), admission.admit("greedy"):
            pass
        for _ in range(4):
            inside.enter_context(admission.admit("modest"))
        with pytest.raises(Overloaded), admission.admit("modest"):
            pass
        for name in range(SPARE_PLACES):
            inside.enter_context(admission.admit(f"new {name}"))
        with pytest.raises(Overloaded), admission.admit("one more"):
            pass
    with admission.admit("greedy"):
        pass


def test_queue_of_one_key_does_not_delay_another() -> None:
    async def scenario() -> None:
        admission, end = Admission(2, 20, 60), asyncio.Event()
        admission._means_s[Lane.SHORT] = 1.0

        async def greedy() -> None:
            async with admission.permit(Lane.SHORT, Deadline(60), "greedy"):
                await end.wait()

        tasks = [asyncio.ensure_future(greedy()) for _ in range(12)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await admission.enter(Lane.SHORT, Deadline(2.0), "greedy")
        modest = asyncio.ensure_future(admission.enter(Lane.SHORT, Deadline(2.0), "modest"))
        await asyncio.sleep(0)
        assert not modest.done()
        end.set()
        await asyncio.gather(*tasks, modest)
        admission.leave(Lane.SHORT, "modest")

    run(scenario())


def test_new_key_finds_room_in_full_queue() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=1, max_queue=2, timeout_s=60), asyncio.Event()

        async def of(owner: str) -> None:
            async with admission.permit(Lane.SHORT, Deadline(60), owner):
                await until.wait()

        tasks = [asyncio.ensure_future(of("greedy")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await of("greedy")
        tasks.append(asyncio.ensure_future(of("modest")))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await of("modest")
        until.set()
        await asyncio.gather(*tasks)

    run(scenario())


def test_nginx_refuses_until_there_is_room(tmp_path: Path) -> None:
    admission = Admission(8, 24, 10, Flags(RejectFlags(tmp_path)))

    def flags() -> list[str]:
        return sorted(path.name for path in tmp_path.iterdir())

    with ExitStack() as inside:
        for _ in range(32):
            inside.enter_context(admission.admit())
        assert flags() == [], "nobody was refused yet"
        with pytest.raises(Overloaded), admission.admit():
            pass
        assert flags() == [EVERYBODY]
    assert flags() == []
    with ExitStack() as inside:
        for _ in range(16):
            inside.enter_context(admission.admit("greedy"))
        with pytest.raises(TooManyRequests), admission.admit("greedy"):
            pass
        assert flags() == ["greedy"]
    assert flags() == []


def test_details_have_lanes_and_refusals() -> None:
    async def scenario() -> None:
        admission, until = Admission(max_running=1, max_queue=1, timeout_s=60), asyncio.Event()
        tasks = await filled(admission, until, 2)
        with pytest.raises(Overloaded):
            await held(admission, until)
        result = admission.details()
        assert result["lanes"] == {"picture": (0, 0), "short": (1, 1), "long": (0, 0)}
        assert result["refused_by"] == {"full": 1}
        until.set()
        await asyncio.gather(*tasks)

    run(scenario())
