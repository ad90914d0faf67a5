"""Who may start: as many as is best for those at work, a bounded queue before them, and 503 at once beyond.

view's thread   door    no more requests in the worker than it has threads for; else refused before the upload is read
event loop      turn    a place at work: how many there are app/admission/adaptive_limit.py finds, who is next app/admission/queue.py knows
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from app.admission.adaptive_limit import AdaptiveLimit
from app.admission.deadline import Deadline
from app.admission.queue import Lane, LaneScheduler
from app.admission.reject_flags import EVERYBODY, RejectFlags, enough
from app.admission.shared_semaphore import SharedSemaphore
from app.admission.waiting_flags import UploadWaitingFlag
from app.errors import InferenceTimeout, Overloaded, TooManyRequests

LEAST = 2  # at work, where the setting allows: with one place a long video would have all of them
LONGEST_RETRY_S = 30
WEIGHT = 0.1  # of one request in the mean of its lane
SHARE = 0.5  # of the places in a worker, that one key may have: the others find room whatever it sends
SPARE = 4  # may be in a worker that is full, at work and waiting, of keys that have nothing there
NOBODY_TOLD, NO_JOBS = RejectFlags(None), UploadWaitingFlag(None)
FULL = "the service has more work than it can do now; please try again in a moment"


class Admission:
    """At most `most` at work at a time, with those that wait `most` + `queue`; no wait is longer than `timeout_s`."""

    def __init__(
        self, most: int, queue: int, timeout_s: float, shut: RejectFlags = NOBODY_TOLD, waiting: UploadWaitingFlag = NO_JOBS,
        share: SharedSemaphore | None = None,
    ) -> None:  # fmt: skip
        self._limit = AdaptiveLimit(min(LEAST, most), most)
        self._lanes = LaneScheduler(lambda: self._limit.value, most, share=share)
        self._most, self._timeout_s, self._shut, self._waiting = most + queue, timeout_s, shut, waiting
        self._held, self._lock = Counter[str](), threading.RLock()
        self._most_of_key = math.ceil(SHARE * self._most)
        self._means_s = dict.fromkeys(Lane, 0.0)
        self._admitted = 0
        self._refused: Counter[str] = Counter()

    @contextmanager
    def door(self, owner: str = "") -> Iterator[None]:
        """One request's time in this worker, from any thread; raises Overloaded when it could not even wait.

        Raises TooManyRequests when there is room, and not for one more of `owner`, the key it came with. A key that
        has nothing here is let in though others have filled it, up to SPARE of them.
        """
        with self._lock:
            full = not self._has_room(owner)
            too_much = bool(owner) and self._held[owner] >= self._most_of_key
            if not full and not too_much:
                self._held[owner] += 1
        if full or too_much:
            self._shut.shut(owner or EVERYBODY, lambda: self._has_room(owner, slack=True))
            raise self._refusal("door") if full else self._too_much()
        try:
            yield
        finally:
            with self._lock:
                self._held[owner] -= 1
                if not self._held[owner]:
                    del self._held[owner]
            self._shut.opened(owner or EVERYBODY, lambda: self._has_room(owner, slack=True))

    def _has_room(self, owner: str, slack: bool = False) -> bool:
        """Whether the worker can hold one more of `owner`; with `slack`, so many that it may be told to nginx."""
        if not slack:
            return self._held.total() < self._most + self._spare(self._held[owner], owner)
        of_owner = not owner or self._held[owner] <= self._most_of_key - enough(self._most_of_key)
        return of_owner and self._held.total() <= self._most - enough(self._most)

    @staticmethod
    def _spare(has: int, owner: str) -> int:
        return SPARE if owner and not has else 0

    @asynccontextmanager
    async def turn(self, lane: Lane, deadline: Deadline, owner: str = "") -> AsyncIterator[Permit]:
        """A place at work for the block; raises Overloaded when the queue is full or too slow for the deadline."""
        turn = Permit(self, lane, owner)
        await self.enter(lane, deadline, owner)
        self._admitted += 1
        turn.began = time.monotonic()
        done = False
        try:
            yield turn
            done = True
        except InferenceTimeout:
            done = True  # it took at least so long
            raise
        finally:
            if turn.inside:
                if done:
                    self._took(turn)
                self._lanes.leave(turn.lane, owner)

    async def enter(self, lane: Lane, deadline: Deadline, owner: str = "") -> None:
        """Waits for a place, to be given back with `leave`; raises as `turn` does."""
        if not self._lanes.is_open(lane, owner):
            self._waiting.note()
            room = self._most - self._limit.value + self._spare(self._lanes.queue(lane, owner), owner)
            if self._lanes.waiting >= room or (lane is Lane.LONG and self._lanes.queue(lane) >= -(-room // 2)):
                raise self._refusal("full")
            if owner and lane is Lane.LONG and self._lanes.queue(lane, owner) >= max(1, room // 4):
                raise self._too_much()
            if self._wait_s(lane, owner) > self._timeout_s:
                raise self._refusal("slow")
            if self._wait_s(lane, owner) + self._means_s[lane] > deadline.left_s:
                raise self._refusal(
                    "deadline", "the service has too much work to answer in the time that was asked for"
                )
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._lanes.enter(lane, owner)
        except TimeoutError:
            words = "the request waited too long for its turn; please try again in a moment"
            raise self._refusal("waited", words) from None

    def _took(self, turn: Permit) -> None:
        seconds = time.monotonic() - turn.began
        mean_s = self._means_s[turn.lane]
        self._means_s[turn.lane] = mean_s + WEIGHT * (seconds - mean_s) if mean_s else seconds
        if turn.kind is not None:
            self._limit.took((turn.lane, turn.kind), seconds, self._lanes.all_at_work, time.monotonic())

    @property
    def at_work(self) -> int:
        """How many requests."""
        return self._lanes.all_at_work

    def leave(self, lane: Lane, owner: str = "") -> None:
        """Gives the place back."""
        self._lanes.leave(lane, owner)

    def close(self) -> None:
        """Nobody is to be let in any more; on the event loop."""
        self._lanes.close()

    def _wait_s(self, lane: Lane, owner: str) -> float:
        """How long those take that would go before one more of `lane` and `owner`."""
        ahead = (self._lanes.ahead(other, owner) * self._means_s[other] for other in Lane if other <= lane)
        return sum(ahead) / self._limit.value

    def _too_much(self) -> TooManyRequests:
        return TooManyRequests("this key has its share of the service at work and waiting", self._retry_after_s())

    def _refusal(self, why: str, words: str = FULL) -> Overloaded:
        """Says to come back when those who wait now have had their turn; `why` is one word, for the counts."""
        with self._lock:
            self._refused[why] += 1
        return Overloaded(words, self._retry_after_s())

    def _retry_after_s(self) -> int:
        return min(LONGEST_RETRY_S, max(1, math.ceil(self.backlog_s())))

    def backlog_s(self) -> float:
        """How long those take that wait now."""
        waiting = (self._lanes.queue(lane) * self._means_s[lane] for lane in Lane)
        return sum(waiting) / self._limit.value

    def facts(self) -> dict[str, Any]:
        """How much is at work, waits, may be at work, and was refused since the start."""
        return {
            "limit": self._limit.value,
            "at_work": self._lanes.all_at_work,
            "waiting": self._lanes.waiting,
            "admitted": self._admitted,
            "refused": sum(self._refused.values()),
        }

    def details(self) -> dict[str, Any]:
        """The same by lane, (at work, waiting), and by the word for why it was refused; on the event loop."""
        lanes = {lane.name.lower(): (self._lanes.at_work[lane], self._lanes.queue(lane)) for lane in Lane}
        with self._lock:
            refused = dict(self._refused)
        return self.facts() | {"lanes": lanes, "refused_by": refused, "backlog_s": self.backlog_s()}


class Permit:
    """One request's place at work; `kind` is what it can be compared by with others, None while that is unknown."""

    def __init__(self, admission: Admission, lane: Lane, owner: str = "") -> None:
        self._admission, self.lane, self.owner = admission, lane, owner
        self.kind: Hashable = None
        self.began, self.inside = 0.0, True

    @property
    def is_alone(self) -> bool:
        """Whether this worker has nothing else to do."""
        return self._admission.at_work <= 1

    async def move(self, lane: Lane, deadline: Deadline) -> None:
        """Goes on in another lane, and waits there if it must; raises as `Admission.turn` does."""
        if lane is self.lane:
            return
        self.inside = False
        self._admission.leave(self.lane, self.owner)
        await self._admission.enter(lane, deadline, self.owner)
        self.inside, self.lane, self.began = True, lane, time.monotonic()
