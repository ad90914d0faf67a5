"""Permits to run and the queues for them, one per lane: pictures, short videos and long videos.

Long videos never hold all permits (unless there is only one), so a picture or a short video only waits for short work.
A returned permit goes to a lane without a running request, the longest waiting first. If every lane has one, pictures
go first.

Within a lane the owner (of an API key) with the least recent usage goes first, then round robin. While a lighter owner
is active, heavier owners share a semaphore across all workers (app/admission/shared_semaphore.py) with half as many
permits as CPUs, so that the next request of the lighter owner finds a free CPU. The lighter owner may use one permit
more than the limit where the maximum allows it. An owner that is alone may use all permits.
Measurements are in docs/decisions/0008-refuse-early.md.
"""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum

from app.admission.client_usage import ClientUsage
from app.admission.shared_semaphore import SharedSemaphore

LOOK_S = 0.004  # poll interval for permits of the shared semaphore that another worker returns
Place = tuple[float, asyncio.Future[None]]  # queue entry: start of the wait, future that grants the permit


class Lane(IntEnum):
    """Queue of a request; a lower value has priority."""

    PICTURE = 0
    SHORT = 1
    LONG = 2


class LaneScheduler:
    """Scheduler of permits over lanes and owners. Use from one event loop.

    Args:
        places: Returns the current number of permits.
        most: Maximum number of permits; while `places()` is lower, a lighter owner may use one more.
        owners: Usage and demand by owner.
        share: Semaphore for heavier owners; by default one permit within this process.
        most_long: Maximum number of permits for long videos; 0 for one fewer than `places()`.
    """

    def __init__(
        self,
        places: Callable[[], int],
        most: int = 0,
        owners: ClientUsage | None = None,
        share: SharedSemaphore | None = None,
        most_long: int = 0,
    ) -> None:
        self._most_long = most_long or sys.maxsize
        self._places, self._most, self._share = places, most, share or SharedSemaphore(1)
        self._seated = Counter[str]()  # permits of the shared semaphore by owner
        self._yields = False
        self._looks: asyncio.TimerHandle | None = None
        self.at_work = dict.fromkeys(Lane, 0)
        self._owners = owners or ClientUsage()
        # Waiting requests by owner; the owner served last is last, owners without a waiting request are absent
        self._queues: dict[Lane, dict[str, deque[Place]]] = {lane: {} for lane in Lane}

    @property
    def all_at_work(self) -> int:
        """Number of running requests."""
        return sum(self.at_work.values())

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return sum(self.queue(lane) for lane in Lane)

    def queue(self, lane: Lane, owner: str | None = None) -> int:
        """Return the number of waiting requests in `lane`, of one owner or of all."""
        queues = self._queues[lane]
        if owner is not None:
            return len(queues.get(owner, ()))
        return sum(map(len, list(queues.values())))  # a copy: other threads call this too

    def ahead(self, lane: Lane, owner: str) -> int:
        """Return the requests of `lane` that would run before one more of `owner`.

        Round robin lets each other owner run at most one more than `owner` has waiting.
        """
        own = self.queue(lane, owner)
        return own + sum(min(len(queue), own + 1) for other, queue in self._queues[lane].items() if other != owner)

    def is_open(self, lane: Lane, owner: str = "") -> bool:
        """Return whether one more request of `owner` may start at once."""
        try:
            return self._is_open(lane, owner)
        finally:
            self._share.let_go()

    def _is_open(self, lane: Lane, owner: str) -> bool:
        return self._may(lane, owner) and next(self._ready(lane), None) is None

    def _may(self, lane: Lane, owner: str) -> bool:
        """Return whether `owner` may have a permit, regardless of the queue.

        For a heavier owner this holds a permit of the shared semaphore until `take` or `let_go`.
        """
        places, at_work = self._places(), self.all_at_work
        if lane is Lane.LONG and self.at_work[lane] >= max(1, min(places - 1, self._most_long)):
            return False
        if at_work > places or (at_work == places and (places >= self._most or not self._owners.asks_for_less(owner))):
            return False
        if not self._owners.asks_for_most(owner):
            return True
        return self._owners.at_work(owner) < self._share.seats and not self._yields and self._share.hold()

    def _ready(self, lane: Lane) -> Iterator[str]:
        """Yield the owners that wait in `lane` and may start."""
        return (owner for owner in self._queues[lane] if self._may(lane, owner))

    async def enter(self, lane: Lane, owner: str = "") -> None:
        """Wait for a permit, to be returned with `leave`. A cancelled wait leaves no permit behind."""
        self._owners.come(owner)
        if self._began_at_once(lane, owner):
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        entry = (loop.time(), future)
        queues = self._queues[lane]
        queues.setdefault(owner, deque()).append(entry)
        self._look_again()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave(lane, owner)  # the permit was granted just before the cancellation
            else:
                self._owners.go(owner)
            with suppress(KeyError, ValueError):
                queues[owner].remove(entry)
                if not queues[owner]:
                    del queues[owner]
            raise

    def _began_at_once(self, lane: Lane, owner: str) -> bool:
        try:
            if opened := self._is_open(lane, owner):
                self._begin(lane, owner)
            return opened
        finally:
            self._share.let_go()

    def _begin(self, lane: Lane, owner: str) -> None:
        self.at_work[lane] += 1
        if self._owners.asks_for_most(owner) and self._share.take():
            self._seated[owner] += 1
        self._owners.begin(owner)

    def leave(self, lane: Lane, owner: str = "") -> None:
        """Return a permit of `owner` and grant permits to waiting requests."""
        self.at_work[lane] -= 1
        self._owners.end(owner)
        self._owners.go(owner)
        if self._seated[owner] > self._owners.at_work(owner):
            self._share.give()
            self._seated -= Counter((owner,))
            if self._share.is_waited_for():
                self._yield()
        self._call_in()

    def _yield(self) -> None:
        """Take no permit of the shared semaphore until another worker has had time to poll."""
        self._yields = True
        if self._looks is not None:
            self._looks.cancel()
            self._looks = None

    def _call_in(self) -> None:
        """Grant permits to all waiting requests that may start now."""
        try:
            while (lane := self._next()) is not None:
                owner, future = self._first(lane)
                if not future.done():  # done: the wait was just cancelled
                    self._begin(lane, owner)
                    future.set_result(None)
        finally:
            self._share.let_go()
        self._look_again()

    def _look_again(self) -> None:
        """Schedule a poll if a request may wait for a permit of another worker, which gives no notice of its return."""
        if not self._share.is_shared:
            return
        waits = any(self._owners.asks_for_most(owner) for queues in self._queues.values() for owner in queues)
        self._share.wait(waits)
        if waits and self._looks is None:
            # A worker that yields polls later than the others
            soon_s = 2 * LOOK_S if self._yields else LOOK_S
            self._looks = asyncio.get_running_loop().call_later(soon_s, self._look)

    def _look(self) -> None:
        self._looks, self._yields = None, False
        self._call_in()

    def close(self) -> None:
        """Stop polling, and return all permits of the shared semaphore."""
        if self._looks is not None:
            self._looks.cancel()
        self._share.close()

    def _first(self, lane: Lane) -> tuple[str, asyncio.Future[None]]:
        """Remove and return the next request of `lane`: the owner with the least usage first, then round robin."""
        queues = self._queues[lane]
        owner = min(self._ready(lane), key=self._owners.used_s)
        queue = queues.pop(owner)
        _, future = queue.popleft()
        if queue:
            queues[owner] = queue
        return owner, future

    def _waits_since(self, lane: Lane) -> float:
        return min(self._queues[lane][owner][0][0] for owner in self._ready(lane))

    def _next(self) -> Lane | None:
        ready = [lane for lane in Lane if next(self._ready(lane), None) is not None]
        idle = [lane for lane in ready if not self.at_work[lane]]
        if idle:
            return min(idle, key=self._waits_since)
        return min(ready, default=None)
