"""The queue: permits, lanes and keys; long work never holds all permits, and no request starves."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from app.admission.queue import ACTIVE_S, Bounds, Lane, LaneScheduler


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


def test_idle_lane_goes_first_then_pictures() -> None:
    async def scenario() -> None:
        lanes, order = LaneScheduler(lambda: 2), list[Lane]()
        await lanes.enter(Lane.PICTURE)
        await lanes.enter(Lane.SHORT)
        lanes_wanted = (Lane.SHORT, Lane.LONG, Lane.PICTURE, Lane.PICTURE)
        tasks = [waiting(lanes, lane, order) for lane in lanes_wanted]
        await settle()
        lanes.leave(Lane.SHORT)  # no short request runs, and one has waited longest
        await settle()
        lanes.leave(Lane.PICTURE)
        await settle()
        lanes.leave(Lane.LONG)
        await settle()
        lanes.leave(Lane.PICTURE)
        await asyncio.gather(*tasks)

        assert order == [Lane.SHORT, Lane.LONG, Lane.PICTURE, Lane.PICTURE]

    run(scenario())


def test_long_work_runs_with_a_single_permit() -> None:
    async def scenario() -> None:
        lanes = LaneScheduler(lambda: 1)
        await lanes.enter(Lane.LONG)
        assert not lanes.is_open(Lane.PICTURE)
        lanes.leave(Lane.LONG)
        await lanes.enter(Lane.PICTURE)

    run(scenario())


def test_cancelled_request_leaves_the_queue() -> None:
    async def scenario() -> None:
        lanes, order = LaneScheduler(lambda: 1), list[Lane]()
        await lanes.enter(Lane.SHORT)
        gone, stays = waiting(lanes, Lane.SHORT, order), waiting(lanes, Lane.SHORT, order)
        await settle()
        gone.cancel()
        lanes.leave(Lane.SHORT)  # before the leaving request notices
        await stays

        assert (lanes.all_running, lanes.waiting) == (1, 0)

    run(scenario())


def test_cancelled_request_passes_on_its_permit() -> None:
    async def scenario() -> None:
        lanes, order = LaneScheduler(lambda: 1), list[Lane]()
        await lanes.enter(Lane.SHORT)
        gone, stays = waiting(lanes, Lane.SHORT, order), waiting(lanes, Lane.SHORT, order)
        await settle()
        lanes.leave(Lane.SHORT)
        gone.cancel()
        await stays

        assert (lanes.all_running, lanes.waiting) == (1, 0)

    run(scenario())


def test_raised_limit_admits_waiting_requests() -> None:
    async def scenario() -> None:
        places, order = 1, list[Lane]()
        lanes = LaneScheduler(lambda: places)
        await lanes.enter(Lane.SHORT)
        tasks = [waiting(lanes, Lane.SHORT, order) for _ in range(3)]
        await settle()
        places = 3
        lanes.leave(Lane.SHORT)
        await settle()

        assert (lanes.all_running, lanes.waiting) == (3, 0)
        await asyncio.gather(*tasks)

    run(scenario())


class Clients:
    """Requests of several keys to one lane, and the order in which they started. `now` is the time in seconds."""

    def __init__(self, limit: int, bounds: Bounds | None = None) -> None:
        self.now, self.started = 0.0, list[str]()
        self.lanes = LaneScheduler(lambda: limit, bounds, lambda: self.now)
        self.tasks: list[asyncio.Task[None]] = []

    async def send(self, *owners: str) -> None:
        async def enter(owner: str) -> None:
            await self.lanes.enter(Lane.SHORT, owner)
            self.started.append(owner)

        self.tasks += [asyncio.ensure_future(enter(owner)) for owner in owners]
        await settle()

    async def finish(self, owner: str, after_s: float = 0.0) -> None:
        self.now += after_s
        self.lanes.leave(Lane.SHORT, owner)
        await settle()

    async def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()
        await settle()


def test_keys_take_turns() -> None:
    async def scenario() -> None:
        clients = Clients(1)
        await clients.send("heavy", *["heavy"] * 5, "light", "third", "light")
        assert (clients.lanes.ahead(Lane.SHORT, "light"), clients.lanes.ahead(Lane.SHORT, "fourth")) == (6, 3)
        assert clients.lanes.queue(Lane.SHORT, "heavy") == 5
        for number in range(8):
            await clients.finish(clients.started[number])
        assert clients.started[1:] == ["heavy", "light", "third", "heavy", "light", "heavy", "heavy", "heavy"]
        assert clients.lanes.waiting == 0

    run(scenario())


def test_key_with_fewest_running_requests_goes_first() -> None:
    async def scenario() -> None:
        clients = Clients(4)
        await clients.send(*["heavy"] * 6, "light")
        assert clients.started == ["heavy"] * 4
        await clients.finish("heavy")
        assert clients.started[4:] == ["light"]
        await clients.send("light", "light")
        await clients.finish("heavy")
        assert clients.started[5:] == ["light"], "heavy has two, its half"
        await clients.cancel()

    run(scenario())


def test_active_keys_halve_the_permits_of_one() -> None:
    async def scenario() -> None:
        clients = Clients(8)
        await clients.send(*["heavy"] * 20)
        assert clients.started == ["heavy"] * 8
        await clients.send("light")
        await clients.finish("heavy", after_s=1)
        await clients.finish("light", after_s=1)
        for _ in range(3):
            await clients.finish("heavy")
        assert clients.started == ["heavy"] * 8 + ["light"], "four run, and four permits are free"
        await clients.send("light", "light")
        assert clients.started[-2:] == ["light", "light"], "at once"
        await clients.finish("heavy")
        assert clients.started[-1] == "heavy"
        await clients.finish("light")
        await clients.finish("light")
        await clients.finish("heavy", after_s=ACTIVE_S + 1)
        assert clients.started[-5:] == ["heavy"] * 5, "no other key is active"
        await clients.cancel()

    run(scenario())


def test_bound_for_each_key_holds_while_another_is_active() -> None:
    async def scenario() -> None:
        clients = Clients(8, Bounds(of_key=1))
        await clients.send("light", *["heavy"] * 9)
        assert clients.started == ["light", "heavy"]
        await clients.finish("light", after_s=ACTIVE_S + 1)
        assert clients.started == ["light"] + ["heavy"] * 8
        await clients.cancel()

    run(scenario())


def test_with_one_permit_a_key_may_have_it() -> None:
    async def scenario() -> None:
        clients = Clients(1)
        await clients.send("one")
        await clients.finish("one")
        await clients.send("other")
        assert clients.started == ["one", "other"]

    run(scenario())


def test_keys_without_requests_are_forgotten() -> None:
    async def scenario() -> None:
        clients = Clients(2)
        await clients.send(*["heavy"] * 9, "light")
        await clients.cancel()
        clients.lanes.leave(Lane.SHORT, "heavy")
        clients.lanes.leave(Lane.SHORT, "heavy")
        assert (clients.lanes.all_running, clients.lanes.waiting) == (0, 0)
        clients.now += ACTIVE_S + 1
        await clients.send("third", "third")
        assert clients.started[-2:] == ["third", "third"], "it is alone and has all permits"
        await clients.cancel()

    run(scenario())
