"""Admission: so many at work, so many waiting, 503 beyond."""

import asyncio

import pytest

from app.admission import Admission
from app.errors import Overloaded


def test_beyond_the_queue_is_refused_at_once() -> None:
    async def scenario() -> None:
        admission = Admission(inflight=1, queue=1, timeout_s=60)
        await admission.enter()
        waiting = asyncio.create_task(admission.enter())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await admission.enter()
        admission.leave()
        await asyncio.wait_for(waiting, 1)
        assert admission.waiting == 0

    asyncio.run(scenario())


def test_a_wait_that_is_too_long_ends_and_frees_its_place_in_the_queue() -> None:
    async def scenario() -> None:
        admission = Admission(inflight=1, queue=1, timeout_s=0.01)
        await admission.enter()
        for _ in range(3):
            with pytest.raises(Overloaded, match="waited too long"):
                await admission.enter()
        assert admission.waiting == 0
        admission.leave()
        await admission.enter()

    asyncio.run(scenario())
