"""Places and lanes: long work never has them all, and nobody waits for ever."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from app.admission.client_usage import LATELY_S, ClientUsage
from app.admission.queue import Lane, LaneScheduler
from app.admission.shared_semaphore import SharedSemaphore


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(lanes: LaneScheduler, lane: Lane, order: list[Lane]) -> asyncio.Task[None]:
    async def enter() -> None:
        await lanes.enter(lane)
        order.append(lane)

    return asyncio.ensure_future(enter())


def test_a_picture_does_not_wait_behind_long_videos() -> None:
    async def scenario() -> None:
        lanes, order = LaneScheduler(lambda: 2), list[Lane]()
        tasks = [waiting(lanes, Lane.LONG, order) for _ in range(5)]
        await settle()
        tasks.append(waiting(lanes, Lane.PICTURE, order))
        await settle()

        assert order == [Lane.LONG, Lane.PICTURE]
        assert lanes.waiting == lanes.queue(Lane.LONG) == 4
        for task in tasks:
            task.cancel()

    run(scenario())


def test_a_lane_with_nobody_at_work_goes_first_then_pictures() -> None:
    async def scenario() -> None:
        lanes, order = LaneScheduler(lambda: 2), list[Lane]()
        await lanes.enter(Lane.PICTURE)
        await lanes.enter(Lane.SHORT)
        lanes_wanted = (Lane.SHORT, Lane.LONG, Lane.PICTURE, Lane.PICTURE)
        tasks = [waiting(lanes, lane, order) for lane in lanes_wanted]
        await settle()
        lanes.leave(Lane.SHORT)  # nobody short is at work now, and one such has waited longest
        await settle()
        lanes.leave(Lane.PICTURE)
        await settle()
        lanes.leave(Lane.LONG)
        await settle()
        lanes.leave(Lane.PICTURE)
        await asyncio.gather(*tasks)

        assert order == [Lane.SHORT, Lane.LONG, Lane.PICTURE, Lane.PICTURE]

    run(scenario())


def test_with_one_place_long_work_is_done_too() -> None:
    async def scenario() -> None:
        lanes = LaneScheduler(lambda: 1)
        await lanes.enter(Lane.LONG)
        assert not lanes.is_open(Lane.PICTURE)
        lanes.leave(Lane.LONG)
        await lanes.enter(Lane.PICTURE)

    run(scenario())


def test_who_gives_up_leaves_the_queue_and_takes_no_place() -> None:
    async def scenario() -> None:
        lanes, order = LaneScheduler(lambda: 1), list[Lane]()
        await lanes.enter(Lane.SHORT)
        gone, stays = waiting(lanes, Lane.SHORT, order), waiting(lanes, Lane.SHORT, order)
        await settle()
        gone.cancel()
        lanes.leave(Lane.SHORT)  # before the one that goes knows it
        await stays

        assert (lanes.all_at_work, lanes.waiting) == (1, 0)

    run(scenario())


def test_who_is_cancelled_with_the_place_in_hand_passes_it_on() -> None:
    async def scenario() -> None:
        lanes, order = LaneScheduler(lambda: 1), list[Lane]()
        await lanes.enter(Lane.SHORT)
        gone, stays = waiting(lanes, Lane.SHORT, order), waiting(lanes, Lane.SHORT, order)
        await settle()
        lanes.leave(Lane.SHORT)
        gone.cancel()
        await stays

        assert (lanes.all_at_work, lanes.waiting) == (1, 0)

    run(scenario())


def test_more_places_let_more_in() -> None:
    async def scenario() -> None:
        places, order = 1, list[Lane]()
        lanes = LaneScheduler(lambda: places)
        await lanes.enter(Lane.SHORT)
        tasks = [waiting(lanes, Lane.SHORT, order) for _ in range(3)]
        await settle()
        places = 3
        lanes.leave(Lane.SHORT)
        await settle()

        assert (lanes.all_at_work, lanes.waiting) == (3, 0)
        await asyncio.gather(*tasks)

    run(scenario())


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """Lanes with `places`, files of several keys in them, and who began in which order."""

    def __init__(self, places: int, most: int = 0, share: int = 1) -> None:
        self.clock, self.order = Clock(), list[str]()
        self.owners = ClientUsage(self.clock)
        self.lanes = LaneScheduler(lambda: places, most, self.owners, SharedSemaphore(share))
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *owners: str) -> None:
        async def enter(owner: str) -> None:
            await self.lanes.enter(Lane.SHORT, owner)
            self.order.append(owner)

        self.tasks += [asyncio.ensure_future(enter(owner)) for owner in owners]
        await settle()

    async def leave(self, owner: str, after_s: float = 0.0) -> None:
        self.clock.now += after_s
        self.lanes.leave(Lane.SHORT, owner)
        await settle()

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()


def test_owners_take_turns_however_many_one_of_them_sends() -> None:
    async def scenario() -> None:
        keys = Keys(1)
        await keys.come("greedy", *["greedy"] * 5, "modest", "third", "modest")
        assert (keys.lanes.ahead(Lane.SHORT, "modest"), keys.lanes.ahead(Lane.SHORT, "fourth")) == (6, 3)
        assert keys.lanes.queue(Lane.SHORT, "greedy") == 5
        for place in range(8):
            await keys.leave(keys.order[place])
        assert keys.order[1:] == ["greedy", "modest", "third", "greedy", "modest", "greedy", "greedy", "greedy"]
        assert keys.lanes.waiting == 0

    run(scenario())


def test_who_had_least_goes_first_even_several_times() -> None:
    async def scenario() -> None:
        keys = Keys(1)
        await keys.come(*["greedy"] * 4)
        await keys.leave("greedy", after_s=5)
        await keys.come(*["modest"] * 3)
        for _ in range(3):
            await keys.leave(keys.order[-1], after_s=0.5)
        assert keys.order == ["greedy", "greedy", "modest", "modest", "modest"]
        await keys.leave("modest", after_s=0.5)
        assert keys.order[-1] == "greedy"
        keys.end()

    run(scenario())


def test_lighter_client_gets_one_more_place() -> None:
    async def scenario() -> None:
        keys, full = Keys(2, most=16), Keys(2, most=2)
        for each in (keys, full):
            await each.come(*["greedy"] * 9)
            each.clock.now += 1
            await each.come("modest", "modest", "modest")
        assert keys.order == ["greedy", "greedy", "modest"]
        assert full.order == ["greedy", "greedy"]
        await keys.leave("modest")
        assert keys.order == ["greedy", "greedy", "modest", "modest"]
        await keys.leave("greedy")
        assert keys.order == ["greedy", "greedy", "modest", "modest", "modest"], "two and one more"
        keys.end()
        full.end()

    run(scenario())


def test_key_alone_has_all_places() -> None:
    async def scenario() -> None:
        keys = Keys(8, share=2)
        await keys.come(*["greedy"] * 17)
        assert keys.order == ["greedy"] * 8
        await keys.leave("greedy", after_s=1)
        assert keys.order == ["greedy"] * 9
        await keys.come("modest")
        await keys.leave("greedy", after_s=1)
        await keys.leave("modest", after_s=1)
        for _ in range(6):
            await keys.leave("greedy", after_s=1)
        assert keys.order == ["greedy"] * 9 + ["modest", "greedy"], "two at work, and six places free"
        await keys.come("modest", "modest")
        assert keys.order[-2:] == ["modest", "modest"], "at once"
        await keys.leave("modest")
        await keys.leave("modest")
        await keys.leave("greedy", after_s=LATELY_S + 1)
        assert keys.order[-3:] == ["greedy"] * 3, "nobody else asks any more"
        keys.end()

    run(scenario())


def test_lighter_client_finds_room_after_more_work() -> None:
    async def scenario() -> None:
        keys = Keys(8, share=2)
        await keys.come(*["modest"] * 3)
        keys.clock.now += 5
        await keys.come(*["greedy"] * 20)
        keys.clock.now += 2
        for _ in range(6):
            await keys.leave("greedy", after_s=0.1)
        assert keys.owners.used_s("greedy") < keys.owners.used_s("modest")
        assert keys.owners.at_work("greedy") == 2, "its share"
        assert keys.lanes.is_open(Lane.SHORT, "modest")
        assert not keys.lanes.is_open(Lane.SHORT, "greedy")
        keys.end()

    run(scenario())


def test_a_burst_is_kept_to_a_part_at_once() -> None:
    async def scenario() -> None:
        keys = Keys(8, share=2)
        await keys.come("modest")
        keys.clock.now += 5
        await keys.come(*["greedy"] * 20)
        assert keys.owners.at_work("greedy") == 2, "the first two could be anybody's"
        assert keys.lanes.is_open(Lane.SHORT, "modest")
        keys.end()

    run(scenario())


def test_equally_heavy_clients_are_not_limited() -> None:
    async def scenario() -> None:
        keys = Keys(8, share=2)
        await keys.come(*["one", "other"] * 2, "one")
        keys.clock.now += 5
        assert keys.lanes.is_open(Lane.SHORT, "one")
        assert keys.lanes.is_open(Lane.SHORT, "other")
        keys.end()

    run(scenario())


def test_who_gave_up_waiting_asks_for_nothing_more() -> None:
    async def scenario() -> None:
        keys = Keys(1)
        await keys.come(*["greedy"] * 9, "modest")
        keys.clock.now += 1
        keys.end()
        await settle()
        keys.lanes.leave(Lane.SHORT, "greedy")
        keys.clock.now += LATELY_S + 5
        await keys.come("modest")
        assert keys.order == ["greedy", "modest"]
        assert keys.lanes.waiting == 0
        assert not keys.owners.asks("greedy")
        keys.end()

    run(scenario())
