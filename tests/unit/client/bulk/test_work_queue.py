"""The bounded queue: returned items, and the end."""

from __future__ import annotations

import asyncio

from clipstack_client.bulk.work_queue import WorkQueue


def test_returned_item_goes_to_another_worker_and_the_end_to_all() -> None:
    async def run() -> list[str]:
        queue: WorkQueue[str] = WorkQueue(4)
        seen: list[str] = []

        async def work(refuses: str) -> None:
            while (item := await queue.get()) is not None:
                seen.append(item)
                if item == refuses:
                    refuses = ""
                    queue.give_back(item)
                else:
                    queue.finish()

        async def feed() -> None:
            for item in "abcdefgh":
                await queue.put(item)
            queue.complete()

        async with asyncio.timeout(10):
            await asyncio.gather(feed(), work("a"), work("h"), work("c"))
        assert queue.ended
        return seen

    seen = asyncio.run(run())
    assert sorted(seen) == sorted("abcdefgh" + "".join(item for item in "ahc" if seen.count(item) == 2))


def test_put_waits_while_too_many_items_are_unfinished() -> None:
    async def run() -> None:
        queue: WorkQueue[int] = WorkQueue(2)
        await queue.put(1)
        await queue.put(2)
        third = asyncio.ensure_future(queue.put(3))
        await asyncio.sleep(0)
        assert (await queue.get(), third.done()) == (1, False)
        queue.finish()
        async with asyncio.timeout(10):
            await third
        assert await queue.get() == 2

    asyncio.run(run())


def test_empty_queue_ends() -> None:
    async def run() -> None:
        queue: WorkQueue[int] = WorkQueue(1)
        queue.complete()
        await queue.wait_ended()
        assert (await queue.get(), await queue.get()) == (None, None)

    asyncio.run(run())
