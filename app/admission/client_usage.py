"""How much of the work each owner of an API key had of late, and for how much it asks.

What it had is seconds at work, of which half is forgotten every HALF_S: who had less goes first. What it asks for is
how many of it are here, waiting ones included: who asks for much less finds room. Work alone does not tell who is in
whose way: once the one that sends too much is kept to a part, both have about as much, and in one worker of several it
may be either that has more.
Where no keys are asked for there is one owner, without a name, and nobody to be compared with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HALF_S = 2.0
MORE = 2.0  # times as many are here of one that others need room from; a little more is chance
LATELY_S = 10.0  # who did not ask for so long needs no room, and of what such a one had nothing is left that counts


@dataclass(slots=True)
class _Seconds:
    """What `count` of them spend; `since` is when `sum_s` was reckoned."""

    since: float
    sum_s: float = 0.0
    count: int = 0

    def at(self, now: float) -> float:
        kept = float(0.5 ** ((now - self.since) / HALF_S))
        return self.sum_s * kept + self.count * (1 - kept) * HALF_S / math.log(2)

    def change(self, by: int, now: float) -> None:
        self.sum_s, self.since, self.count = self.at(now), now, self.count + by


@dataclass(slots=True)
class _Owner:
    came: float
    work: _Seconds = field(init=False)
    here: _Seconds = field(init=False)

    def __post_init__(self) -> None:
        self.work, self.here = _Seconds(self.came), _Seconds(self.came)


class ClientUsage:
    """Used from one event loop; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owners: dict[str, _Owner] = {}  # who came last is last

    def come(self, owner: str) -> None:
        """One more of that owner asks for a place."""
        now = self._clock()
        known = self._owners.pop(owner, None) or _Owner(now)
        known.came = now
        known.here.change(1, now)
        self._owners[owner] = known
        for other, oldest in list(self._owners.items()):
            if oldest.here.count or oldest.came > now - LATELY_S:
                break
            del self._owners[other]

    def begin(self, owner: str) -> None:
        """It has its place."""
        self._owners[owner].work.change(1, self._clock())

    def end(self, owner: str) -> None:
        """It gives its place back."""
        self._owners[owner].work.change(-1, self._clock())

    def go(self, owner: str) -> None:
        """Whether it had a place or not."""
        self._owners[owner].here.change(-1, self._clock())

    def at_work(self, owner: str) -> int:
        known = self._owners.get(owner)
        return known.work.count if known else 0

    def used_s(self, owner: str) -> float:
        """Seconds at work, of late."""
        known = self._owners.get(owner)
        return known.work.at(self._clock()) if known else 0.0

    def asks(self, owner: str) -> float:
        """For how many places: of it are here now, at work or waiting, or were on average of late if that is more."""
        known = self._owners.get(owner)
        return max(known.here.count, known.here.at(self._clock()) * math.log(2) / HALF_S) if known else 0.0

    def asks_for_most(self, owner: str) -> bool:
        """Whether another one that came lately asks for much less."""
        mine = self.asks(owner)
        return any(MORE * self.asks(other) < mine for other in self._others(owner))

    def asks_for_less(self, owner: str) -> bool:
        """Whether another one that came lately asks for much more."""
        mine = self.asks(owner)
        return any(self.asks(other) > MORE * mine for other in self._others(owner))

    def _others(self, owner: str) -> Iterator[str]:
        since = self._clock() - LATELY_S
        return (other for other, known in self._owners.items() if other != owner and known.came >= since)
