"""Permits to run and the queues for them, one per lane: pictures, short videos and long videos.

Long videos never hold all permits (unless there is only one), so a picture or a short video only waits for short work.
A returned permit goes to a lane without a running request, the longest waiting first. If every lane has one, pictures
go first.

Within a lane the owner (of an API key) with the fewest running requests goes first, then round robin. While several
owners are active, each may hold half of the permits, and all workers together run at most as many of its requests as
half of the CPUs, so that the next request of a light owner finds a free permit and a free CPU. An owner that is alone
may hold all permits.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

from app.media.formats import Kind
from app.media.types import Media

ACTIVE_S = 10.0  # an owner is active until this long after its last request came

# Above these, decoding takes longer than about 0.5 s (docs/overload.md).
LONG_BYTES = 100_000_000
LONG_FRAMES = 100_000
LONG_PIXELS = 8_000_000  # of a frame, times the clips

Place = tuple[float, asyncio.Future[None]]  # queue entry: start of the wait, future that grants the permit


class Lane(IntEnum):
    """Queue of a request; a lower value has priority."""

    PICTURE = 0
    SHORT = 1
    LONG = 2


def lane_of(kind: Kind, length: int) -> Lane:
    """Return the lane of a file of `length` bytes that was not opened yet."""
    if kind == "image":
        return Lane.PICTURE
    return Lane.LONG if length > LONG_BYTES else Lane.SHORT


def is_long(media: Media, clips: int) -> bool:
    """Return whether an opened file belongs into the lane for long videos, however few bytes it has."""
    if media.kind == "image":
        return False
    frames = media.frames or (media.duration_s or 0.0) * (media.fps or 30.0)
    return frames > LONG_FRAMES or media.width * media.height * clips > LONG_PIXELS


class Bounds(NamedTuple):
    """Upper bounds of permits for long videos, and of those of one owner while another is active."""

    long: int = sys.maxsize
    of_key: int = sys.maxsize


class LaneScheduler:
    """Scheduler of permits, whose current number `limit` returns, over lanes and owners. Use from one event loop."""

    def __init__(
        self, limit: Callable[[], int], bounds: Bounds | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._bounds, self._clock = limit, bounds or Bounds(), clock
        self.running = dict.fromkeys(Lane, 0)
        self._running_of = Counter[str]()
        self._last_arrivals: dict[str, float] = {}  # by owner; the newest is last
        # Waiting requests by owner; the owner served last is last, owners without a waiting request are absent
        self._queues: dict[Lane, dict[str, deque[Place]]] = {lane: {} for lane in Lane}

    @property
    def all_running(self) -> int:
        """Number of running requests."""
        return sum(self.running.values())

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
        """Return the requests of `lane` before one more of `owner`: others run at most one more than it has waiting."""
        own = self.queue(lane, owner)
        return own + sum(min(len(queue), own + 1) for other, queue in self._queues[lane].items() if other != owner)

    def is_open(self, lane: Lane, owner: str = "") -> bool:
        """Return whether one more request of `owner` may start at once."""
        return self._may_start(lane, owner) and next(self._ready(lane), None) is None

    def _may_start(self, lane: Lane, owner: str) -> bool:
        """Return whether `owner` may have a permit, regardless of the queue."""
        limit = self._limit()
        if lane is Lane.LONG and self.running[lane] >= max(1, min(limit - 1, self._bounds.long)):
            return False
        return self.all_running < limit and self._running_of[owner] < self._limit_of(owner, limit)

    def _limit_of(self, owner: str, limit: int) -> int:
        """Return how many of `limit` permits one owner may hold."""
        since = self._clock() - ACTIVE_S
        newest = next((arrival for other, arrival in reversed(self._last_arrivals.items()) if other != owner), since)
        return max(1, min(limit // 2, self._bounds.of_key)) if newest > since else limit

    def _ready(self, lane: Lane) -> Iterator[str]:
        """Yield the owners that wait in `lane` and may start."""
        return (owner for owner in self._queues[lane] if self._may_start(lane, owner))

    async def enter(self, lane: Lane, owner: str = "") -> None:
        """Wait for a permit, to be returned with `leave`. A cancelled wait leaves no permit behind."""
        self._note_arrival(owner)
        if self.is_open(lane, owner):
            self._start(lane, owner)
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        entry = (loop.time(), future)
        queues = self._queues[lane]
        queues.setdefault(owner, deque()).append(entry)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave(lane, owner)  # the permit was granted just before the cancellation
            with suppress(KeyError, ValueError):
                queues[owner].remove(entry)
                if not queues[owner]:
                    del queues[owner]
            raise

    def _note_arrival(self, owner: str) -> None:
        """Record that a request of `owner` came; forget the owners that are not active any more."""
        now = self._clock()
        self._last_arrivals.pop(owner, None)
        self._last_arrivals[owner] = now
        while (oldest := next(iter(self._last_arrivals))) != owner and self._last_arrivals[oldest] <= now - ACTIVE_S:
            del self._last_arrivals[oldest]

    def _start(self, lane: Lane, owner: str) -> None:
        self.running[lane] += 1
        self._running_of[owner] += 1

    def leave(self, lane: Lane, owner: str = "") -> None:
        """Return a permit of `owner` and grant permits to waiting requests."""
        self.running[lane] -= 1
        self._running_of -= Counter((owner,))
        while (next_lane := self._next_lane()) is not None:
            next_owner, future = self._pop(next_lane)
            if not future.done():  # done: the wait was just cancelled
                self._start(next_lane, next_owner)
                future.set_result(None)

    def _pop(self, lane: Lane) -> tuple[str, asyncio.Future[None]]:
        """Remove and return the next request of `lane`: fewest running requests first, then round robin."""
        queues = self._queues[lane]
        owner = min(self._ready(lane), key=self._running_of.__getitem__)
        queue = queues.pop(owner)
        _, future = queue.popleft()
        if queue:
            queues[owner] = queue
        return owner, future

    def _waits_since(self, lane: Lane) -> float:
        return min(self._queues[lane][owner][0][0] for owner in self._ready(lane))

    def _next_lane(self) -> Lane | None:
        ready = [lane for lane in Lane if next(self._ready(lane), None) is not None]
        idle = [lane for lane in ready if not self.running[lane]]
        if idle:
            return min(idle, key=self._waits_since)
        return min(ready, default=None)
