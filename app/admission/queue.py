"""Places at work and the queues before them: pictures, short videos and long ones each wait in a lane of their own.

Long work never has all places, so that a picture or a short video waits only for work that is short. A place that is
given back goes to the lane that has nobody at work and waited longest; when all have somebody, to pictures first.
Within a lane the owner of an API key who had least work of late goes first, then by turns: who sends a thousand files
waits behind them, and nobody else does. While somebody comes who asks for much less, the others have a share of the
places (app/admission/shared_semaphore.py), for requests half as many as there are processors: whoever comes next finds one that is free.
With all places taken work takes about twice as long as alone (app/admission/adaptive_limit.py). Measured on two cores beside one
that asks for ten times as much as can be done, with 0.3 of it: median 135 to 143 ms and p99 218 to 260 where each of
two workers gave the other one place, 83 to 97 and 166 to 188 where both together gave it one; the other's answers were
18 a second and 15 to 17. Who asks for less finds one place more where there may be one, which matters when there are
two. Who is alone may have them all.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum

from app.admission.client_usage import ClientUsage
from app.admission.shared_semaphore import SharedSemaphore

LOOK_S = 0.004  # so often one who waits for a place of a share looks whether another worker gave one back
Place = tuple[float, asyncio.Future[None]]  # since when somebody waits, and what tells them to begin


class Lane(IntEnum):
    """In the order of their places."""

    PICTURE = 0
    SHORT = 1
    LONG = 2


class LaneScheduler:
    """As many at work as `places` tells at the moment, one more for an owner who asks for less if `most` is more.

    Used from one event loop.
    """

    def __init__(
        self,
        places: Callable[[], int],
        most: int = 0,
        owners: ClientUsage | None = None,
        share: SharedSemaphore | None = None,
    ) -> None:
        self._places, self._most, self._share = places, most, share or SharedSemaphore(1)
        self._seated = Counter[str]()  # who has how many of the share
        self._yields = False
        self._looks: asyncio.TimerHandle | None = None
        self.at_work = dict.fromkeys(Lane, 0)
        self._owners = owners or ClientUsage()
        # By owner, who had a turn last is last; nobody is in it who does not wait
        self._queues: dict[Lane, dict[str, deque[Place]]] = {lane: {} for lane in Lane}

    @property
    def all_at_work(self) -> int:
        return sum(self.at_work.values())

    @property
    def waiting(self) -> int:
        return sum(self.queue(lane) for lane in Lane)

    def queue(self, lane: Lane, owner: str | None = None) -> int:
        """How many wait in that lane, of one owner or of all."""
        queues = self._queues[lane]
        if owner is not None:
            return len(queues.get(owner, ()))
        return sum(map(len, list(queues.values())))  # a copy, made at one go: other threads ask too

    def ahead(self, lane: Lane, owner: str) -> int:
        """How many of that lane would begin before one more of `owner`: of every other at most as many as of it."""
        own = self.queue(lane, owner)
        return own + sum(min(len(queue), own + 1) for other, queue in self._queues[lane].items() if other != owner)

    def is_open(self, lane: Lane, owner: str = "") -> bool:
        """Whether one more of `owner` may begin at once."""
        try:
            return self._is_open(lane, owner)
        finally:
            self._share.let_go()

    def _is_open(self, lane: Lane, owner: str) -> bool:
        return self._may(lane, owner) and next(self._ready(lane), None) is None

    def _may(self, lane: Lane, owner: str) -> bool:
        """Whether one of `owner` may have a place, by all but who waits; for some a place of the share is then held."""
        places, at_work = self._places(), self.all_at_work
        if lane is Lane.LONG and self.at_work[lane] >= max(1, places - 1):
            return False
        if at_work > places or (at_work == places and (places >= self._most or not self._owners.asks_for_less(owner))):
            return False
        if not self._owners.asks_for_most(owner):
            return True
        return self._owners.at_work(owner) < self._share.seats and not self._yields and self._share.hold()

    def _ready(self, lane: Lane) -> Iterator[str]:
        """Owners that wait there and may begin."""
        return (owner for owner in self._queues[lane] if self._may(lane, owner))

    async def enter(self, lane: Lane, owner: str = "") -> None:
        """Waits for a place, to be given back with `leave`; who is cancelled while waiting has none."""
        self._owners.come(owner)
        if self._began_at_once(lane, owner):
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        place = (loop.time(), turn)
        queues = self._queues[lane]
        queues.setdefault(owner, deque()).append(place)
        self._look_again()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(lane, owner)  # the place came just as its owner went
            else:
                self._owners.go(owner)
            with suppress(KeyError, ValueError):
                queues[owner].remove(place)
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
        """Gives the place back that `owner` has, and calls in whoever may begin now."""
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
        """To another worker, until it has surely looked."""
        self._yields = True
        if self._looks is not None:
            self._looks.cancel()
            self._looks = None

    def _call_in(self) -> None:
        """Whoever may begin now."""
        try:
            while (following := self._next()) is not None:
                owner, turn = self._first(following)
                if not turn.done():  # else its owner is just going
                    self._begin(following, owner)
                    turn.set_result(None)
        finally:
            self._share.let_go()
        self._look_again()

    def _look_again(self) -> None:
        """Soon, where somebody may wait for a place that another worker has: nobody tells us when it is given back."""
        if not self._share.is_shared:
            return
        waits = any(self._owners.asks_for_most(owner) for queues in self._queues.values() for owner in queues)
        self._share.wait(waits)
        if waits and self._looks is None:
            # Who yields looks later than those it yields to
            soon_s = 2 * LOOK_S if self._yields else LOOK_S
            self._looks = asyncio.get_running_loop().call_later(soon_s, self._look)

    def _look(self) -> None:
        self._looks, self._yields = None, False
        self._call_in()

    def close(self) -> None:
        """Nobody is called in any more, unless a place comes free here."""
        if self._looks is not None:
            self._looks.cancel()
        self._share.close()

    def _first(self, lane: Lane) -> tuple[str, asyncio.Future[None]]:
        """Takes the one out whose turn it is; among those who had as much its owner's next turn comes last."""
        queues = self._queues[lane]
        owner = min(self._ready(lane), key=self._owners.used_s)
        queue = queues.pop(owner)
        _, turn = queue.popleft()
        if queue:
            queues[owner] = queue
        return owner, turn

    def _waits_since(self, lane: Lane) -> float:
        return min(self._queues[lane][owner][0][0] for owner in self._ready(lane))

    def _next(self) -> Lane | None:
        ready = [lane for lane in Lane if next(self._ready(lane), None) is not None]
        idle = [lane for lane in ready if not self.at_work[lane]]
        if idle:
            return min(idle, key=self._waits_since)
        return min(ready, default=None)
