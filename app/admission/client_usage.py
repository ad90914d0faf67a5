"""Recent usage and demand of each owner of an API key, for fair scheduling.

Usage is the running time of an owner's requests, decayed with a half-life of HALF_S. The owner with less usage goes
first. Demand is the number of an owner's requests in this worker, running or waiting. An owner with much less demand
gets priority. Usage alone does not show which owner blocks the other: once the heavier one is limited, both have about
the same usage.
Without API keys there is a single owner with an empty name.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HALF_S = 2.0
MORE = 2.0  # ratio of demands from which one owner counts as heavier; less is noise
LATELY_S = 10.0  # an owner without a request for this long is inactive; its usage has decayed by then


@dataclass(slots=True)
class _Seconds:
    """Decayed sum of the time that `count` requests spend; `sum_s` was computed at `since`."""

    since: float
    sum_s: float = 0.0
    count: int = 0

    def at(self, now: float) -> float:
        """Return the decayed sum at `now`, in seconds."""
        kept = float(0.5 ** ((now - self.since) / HALF_S))
        return self.sum_s * kept + self.count * (1 - kept) * HALF_S / math.log(2)

    def change(self, by: int, now: float) -> None:
        """Add `by` to the number of requests."""
        self.sum_s, self.since, self.count = self.at(now), now, self.count + by


@dataclass(slots=True)
class _Owner:
    """Usage (`work`) and demand (`here`) of one owner; `came` is the time of its last request."""

    came: float
    work: _Seconds = field(init=False)
    here: _Seconds = field(init=False)

    def __post_init__(self) -> None:
        self.work, self.here = _Seconds(self.came), _Seconds(self.came)


class ClientUsage:
    """Usage and demand by owner. Use from one event loop; `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owners: dict[str, _Owner] = {}  # ordered by last request, newest last

    def come(self, owner: str) -> None:
        """Record that a request of `owner` arrived; forget inactive owners."""
        now = self._clock()
        usage = self._owners.pop(owner, None) or _Owner(now)
        usage.came = now
        usage.here.change(1, now)
        self._owners[owner] = usage
        for other, oldest in list(self._owners.items()):
            if oldest.here.count or oldest.came > now - LATELY_S:
                break
            del self._owners[other]

    def begin(self, owner: str) -> None:
        """Record that a request of `owner` started."""
        self._owners[owner].work.change(1, self._clock())

    def end(self, owner: str) -> None:
        """Record that a request of `owner` finished."""
        self._owners[owner].work.change(-1, self._clock())

    def go(self, owner: str) -> None:
        """Record that a request of `owner` left, whether or not it had started."""
        self._owners[owner].here.change(-1, self._clock())

    def at_work(self, owner: str) -> int:
        """Return the number of running requests of `owner`."""
        entry = self._owners.get(owner)
        return entry.work.count if entry else 0

    def used_s(self, owner: str) -> float:
        """Return the recent usage of `owner`, in decayed seconds of running time."""
        entry = self._owners.get(owner)
        return entry.work.at(self._clock()) if entry else 0.0

    def asks(self, owner: str) -> float:
        """Return the demand of `owner`: its requests in this worker, now or on recent average if that is more."""
        entry = self._owners.get(owner)
        return max(entry.here.count, entry.here.at(self._clock()) * math.log(2) / HALF_S) if entry else 0.0

    def asks_for_most(self, owner: str) -> bool:
        """Return whether another active owner has much less demand."""
        mine = self.asks(owner)
        return any(MORE * self.asks(other) < mine for other in self._others(owner))

    def asks_for_less(self, owner: str) -> bool:
        """Return whether another active owner has much more demand."""
        mine = self.asks(owner)
        return any(self.asks(other) > MORE * mine for other in self._others(owner))

    def _others(self, owner: str) -> Iterator[str]:
        since = self._clock() - LATELY_S
        return (other for other, entry in self._owners.items() if other != owner and entry.came >= since)
