"""A share of places over all workers: counted by the kernel, and given back by whoever dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.admission.client_usage import ClientUsage
from app.admission.queue import Lane, LaneScheduler
from app.admission.shared_semaphore import SharedSemaphore
from app.settings import CHECKOUT

HOLDER = """
import sys, time
from pathlib import Path
from app.admission.shared_semaphore import SharedSemaphore
share = SharedSemaphore(1, Path(sys.argv[1]))
assert share.hold() and share.take()
share.wait(True)
print("seated", flush=True)
time.sleep(60)
"""
Maker = Callable[..., SharedSemaphore]


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Maker]:
    """Makes those of several workers: each that opens the file is another to the kernel, as processes are."""
    made = list[SharedSemaphore]()

    def make(seats: int = 1, path: Path = tmp_path / "share") -> SharedSemaphore:
        made.append(SharedSemaphore(seats, path))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_all_workers_together_have_so_many(share: Maker) -> None:
    one, other = share(2), share(2)
    assert one.hold() and one.take()
    assert other.hold() and other.take()
    assert not one.hold()
    assert not one.take()
    other.give()
    assert one.hold()


def test_released_place_is_free_for_others(share: Maker) -> None:
    one, other = share(), share()
    assert one.hold()
    assert not other.hold()
    one.let_go()
    assert not one.take()
    assert other.hold()


def test_who_waits_is_known_to_the_others_alone(share: Maker) -> None:
    one, other = share(), share()
    one.wait(True)
    assert other.is_waited_for()
    assert not one.is_waited_for()
    one.wait(False)
    assert not other.is_waited_for()


def test_closing_gives_all_back(share: Maker) -> None:
    one, other = share(), share()
    one.hold()
    one.take()
    one.wait(True)
    one.close()
    assert other.hold()
    assert not other.is_waited_for()
    one.give()
    assert not other.take() or not share().hold()


def test_a_killed_worker_has_no_seat(share: Maker, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "share")]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "seated\n"
        one = share()
        assert not one.hold()
        assert one.is_waited_for()
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert one.hold()
    assert not one.is_waited_for()


def test_without_a_file_it_is_one_worker_s_own(share: Maker, tmp_path: Path) -> None:
    for one in (SharedSemaphore(1), share(1, tmp_path / "nowhere" / "share")):
        with closing(one):
            assert one.hold() and one.take()
            assert not one.hold()
            assert not one.is_waited_for()
            one.give()
            assert one.hold()


class Worker:
    """Lanes of one of several workers, and the owners that began there, in that order."""

    def __init__(self, share: SharedSemaphore) -> None:
        self.lanes, self.began = LaneScheduler(lambda: 8, 16, ClientUsage(), share), list[str]()

    async def ask(self, owner: str) -> None:
        await self.lanes.enter(Lane.SHORT, owner)
        self.began.append(owner)

    def leave(self, owner: str) -> None:
        self.lanes.leave(Lane.SHORT, owner)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_heaviest_client_has_its_share_over_all_workers(share: Maker) -> None:
    async def scenario() -> None:
        workers = [Worker(share()) for _ in range(2)]
        asked = ["modest", *["greedy"] * 9]
        tasks = [asyncio.ensure_future(each.ask(owner)) for each in workers for owner in asked]
        # The first two of a burst could be anybody's
        await until(lambda: all(each.began == asked[:3] for each in workers))
        for each in workers:
            for owner in asked[:3]:
                each.leave(owner)
        await until(lambda: sum(each.lanes.all_at_work for each in workers) == 1)
        turns = list[Worker]()
        for number in range(1, 7):
            (at_work,) = [each for each in workers if each.lanes.all_at_work]
            turns.append(at_work)
            at_work.leave("greedy")
            await until(lambda count=number: sum(len(each.began) for each in workers) == 2 * 3 + 1 + count)
        assert [turns.count(each) for each in workers] == [3, 3]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        next(each for each in workers if each.lanes.all_at_work).leave("greedy")
        assert share().hold(), "nothing of it is left"
        for each in workers:
            assert each.lanes.waiting == 0
            each.lanes.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
