"""Admission control: an adaptive limit on running requests, a bounded queue in front of it, and 503 beyond that.

| step     | thread     | check |
|----------|------------|-------|
| `admit`  | view       | Reject before the upload is read when the worker holds as many requests as it can. |
| `permit` | event loop | Wait for a permit: adaptive_limit.py sets their number, queue.py the order. |
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from app.admission.adaptive_limit import AdaptiveLimit
from app.admission.deadline import Deadline
from app.admission.flags import EVERYBODY, RejectFlags, UploadWaitingFlag, free_places
from app.admission.queue import Bounds, Lane, LaneScheduler
from app.errors import InferenceTimeout, Overloaded, TooManyRequests

MIN_PERMITS = 2  # permits, where the setting allows; with only one a long video would hold all of them
MAX_RETRY_S = 30
WEIGHT = 0.1  # of one request in the mean of its lane
KEY_SHARE = 0.5  # of a worker's capacity that one key may use, so that other keys find room
SPARE_PLACES = 4  # requests beyond the capacity, for keys that have none in this worker
FULL_MESSAGE = "the service has more work than it can do now; please try again in a moment"


class Flags(NamedTuple):
    """Flags by which nginx rejects uploads, and by which jobs see that uploads wait."""

    reject: RejectFlags = RejectFlags(None)
    waiting: UploadWaitingFlag = UploadWaitingFlag(None)


class Admission:
    """Admission of requests to one worker, which runs at most `max_running` and holds `max_queue` besides.

    A request waits at most `timeout_s` seconds for a permit.
    """

    def __init__(
        self,
        max_running: int,
        max_queue: int,
        timeout_s: float,
        flags: Flags | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._limit = AdaptiveLimit(min(MIN_PERMITS, max_running), max_running)
        self._lanes = LaneScheduler(lambda: self._limit.value, bounds)
        self._capacity, self._timeout_s, self._flags = max_running + max_queue, timeout_s, flags or Flags()
        self._held, self._lock = Counter[str](), threading.RLock()
        self._key_capacity = math.ceil(KEY_SHARE * self._capacity)
        self._means_s = dict.fromkeys(Lane, 0.0)
        self._admitted = 0
        self._refused: Counter[str] = Counter()

    @contextmanager
    def admit(self, owner: str = "") -> Iterator[None]:
        """Hold a place in this worker for the block. Callable from any thread.

        An owner without a request here may enter a full worker, up to SPARE_PLACES requests beyond its capacity.

        Raises:
            Overloaded: The worker is full.
            TooManyRequests: The worker has room, but `owner`, the request's API key, has its share already.
        """
        with self._lock:
            full = not self._has_room(owner)
            over_quota = bool(owner) and self._held[owner] >= self._key_capacity
            if not full and not over_quota:
                self._held[owner] += 1
        if full or over_quota:
            self._flags.reject.raise_flag(owner or EVERYBODY, lambda: self._has_room(owner, slack=True))
            raise self._count_refusal("door") if full else self._quota_error()
        try:
            yield
        finally:
            with self._lock:
                self._held[owner] -= 1
                if not self._held[owner]:
                    del self._held[owner]
            self._flags.reject.clear_flag(owner or EVERYBODY, lambda: self._has_room(owner, slack=True))

    def may_admit(self, owner: str) -> bool:
        """Return whether `admit` would admit a request of `owner` now; counts no refusal."""
        with self._lock:
            return self._has_room(owner) and not (owner and self._held[owner] >= self._key_capacity)

    def _has_room(self, owner: str, slack: bool = False) -> bool:
        """Return whether one more request of `owner` fits; with `slack`, whether nginx's flag may be removed."""
        if not slack:
            return self._held.total() < self._capacity + self._spare(self._held[owner], owner)
        of_owner = not owner or self._held[owner] <= self._key_capacity - free_places(self._key_capacity)
        return of_owner and self._held.total() <= self._capacity - free_places(self._capacity)

    @staticmethod
    def _spare(has: int, owner: str) -> int:
        return SPARE_PLACES if owner and not has else 0

    @asynccontextmanager
    async def permit(self, lane: Lane, deadline: Deadline, owner: str = "") -> AsyncIterator[Permit]:
        """Hold a permit to run for the block, after a wait in the queue.

        Raises:
            Overloaded: The queue is full, or too slow for the timeout or the deadline.
            TooManyRequests: `owner` already has its share of the queue for long videos.
        """
        await self.enter(lane, deadline, owner)
        self._admitted += 1
        permit, done = Permit(self, lane), False
        try:
            yield permit
            done = True
        except InferenceTimeout:
            done = True  # its duration is a lower bound and still counts
            raise
        finally:
            if done:
                self._record(permit)
            self._lanes.leave(lane, owner)

    async def enter(self, lane: Lane, deadline: Deadline, owner: str = "") -> None:
        """Wait for a permit, to be returned with `leave`. Raises like `permit`."""
        if not self._lanes.is_open(lane, owner):
            self._flags.waiting.touch()
            room = self._capacity - self._limit.value + self._spare(self._lanes.queue(lane, owner), owner)
            if self._lanes.waiting >= room or (lane is Lane.LONG and self._lanes.queue(lane) >= -(-room // 2)):
                raise self._count_refusal("full")
            if owner and lane is Lane.LONG and self._lanes.queue(lane, owner) >= max(1, room // 4):
                raise self._quota_error()
            if self._wait_s(lane, owner) > self._timeout_s:
                raise self._count_refusal("slow")
            if self._wait_s(lane, owner) + self._means_s[lane] > deadline.left_s:
                raise self._count_refusal(
                    "deadline", "the service has too much work to answer in the time that was asked for"
                )
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._lanes.enter(lane, owner)
        except TimeoutError:
            words = "the request waited too long for its turn; please try again in a moment"
            raise self._count_refusal("waited", words) from None

    def _record(self, permit: Permit) -> None:
        seconds = time.monotonic() - permit.began
        mean_s = self._means_s[permit.lane]
        self._means_s[permit.lane] = mean_s + WEIGHT * (seconds - mean_s) if mean_s else seconds
        if permit.kind is not None:
            self._limit.record((permit.lane, permit.kind), seconds, self._lanes.all_running, time.monotonic())

    @property
    def running(self) -> int:
        """Number of running requests."""
        return self._lanes.all_running

    def leave(self, lane: Lane, owner: str = "") -> None:
        """Return a permit."""
        self._lanes.leave(lane, owner)

    def _wait_s(self, lane: Lane, owner: str) -> float:
        """Return the expected wait in seconds of one more request of `lane` and `owner`."""
        ahead = (self._lanes.ahead(other, owner) * self._means_s[other] for other in Lane if other <= lane)
        return sum(ahead) / self._limit.value

    def _quota_error(self) -> TooManyRequests:
        message = "this key uses its whole share of the service: wait for an answer, then retry"
        return TooManyRequests(message, self._retry_after_s())

    def _count_refusal(self, why: str, words: str = FULL_MESSAGE) -> Overloaded:
        """Return the error for a rejected request, with the backlog as `Retry-After`; count it under the word `why`."""
        with self._lock:
            self._refused[why] += 1
        return Overloaded(words, self._retry_after_s())

    def _retry_after_s(self) -> int:
        return min(MAX_RETRY_S, max(1, math.ceil(self.backlog_s())))

    def backlog_s(self) -> float:
        """Return the expected time in seconds until all waiting requests have run."""
        waiting = (self._lanes.queue(lane) * self._means_s[lane] for lane in Lane)
        return sum(waiting) / self._limit.value

    def facts(self) -> dict[str, Any]:
        """Return the limit, the running and waiting requests, and the totals admitted and refused since the start."""
        return {
            "limit": self._limit.value,
            "at_work": self._lanes.all_running,
            "waiting": self._lanes.waiting,
            "admitted": self._admitted,
            "refused": sum(self._refused.values()),
        }

    def details(self) -> dict[str, Any]:
        """Return `facts` with (running, waiting) by lane, refusals by reason and backlog. Call on the event loop."""
        lanes = {lane.name.lower(): (self._lanes.running[lane], self._lanes.queue(lane)) for lane in Lane}
        with self._lock:
            refused = dict(self._refused)
        return self.facts() | {"lanes": lanes, "refused_by": refused, "backlog_s": self.backlog_s()}


class Permit:
    """One request's permit to run; `kind` is the key of comparable requests, None while it is unknown."""

    def __init__(self, admission: Admission, lane: Lane) -> None:
        self._admission, self.lane = admission, lane
        self.kind: Hashable = None
        self.began = time.monotonic()

    @property
    def is_alone(self) -> bool:
        """Whether no other request runs in this worker."""
        return self._admission.running <= 1
