"""How much of the work each owner of an API key had of late: who had less goes first, and finds room.

What somebody had is seconds at work, of which half is forgotten every HALF_S. Where no keys are asked for there is
one owner, without a name, and nobody to be compared with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

HALF_S = 2.0
LATELY_S = 10.0  # who did not ask for so long needs no room, and of what such a one had nothing is left that counts


@dataclass(slots=True)
class _Owner:
    asked: float
    since: float  # when `used_s` was reckoned
    used_s: float = 0.0
    at_work: int = 0


class Owners:
    """Used from one event loop; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owners: dict[str, _Owner] = {}  # who asked last is last

    def came(self, owner: str) -> None:
        """One more of that owner asks for a place."""
        now = self._clock()
        known = self._owners.pop(owner, None) or _Owner(now, now)
        known.asked = now
        self._owners[owner] = known
        for other, oldest in list(self._owners.items()):
            if oldest.at_work or oldest.asked > now - LATELY_S:
                break
            del self._owners[other]

    def begin(self, owner: str) -> None:
        self._reckoned(owner).at_work += 1

    def leave(self, owner: str) -> None:
        self._reckoned(owner).at_work -= 1

    def at_work(self, owner: str) -> int:
        known = self._owners.get(owner)
        return known.at_work if known else 0

    def used_s(self, owner: str) -> float:
        """Seconds at work, of late."""
        known = self._owners.get(owner)
        if known is None:
            return 0.0
        passed_s = self._clock() - known.since
        return float(known.used_s * 0.5 ** (passed_s / HALF_S)) + known.at_work * passed_s

    def has_most(self, owner: str) -> bool:
        """Whether another one who had less asked lately."""
        mine_s = self.used_s(owner)
        return any(self.used_s(other) < mine_s for other in self._others(owner))

    def has_less(self, owner: str) -> bool:
        """Whether another one who had more asked lately."""
        mine_s = self.used_s(owner)
        return any(self.used_s(other) > mine_s for other in self._others(owner))

    def _others(self, owner: str) -> Iterator[str]:
        since = self._clock() - LATELY_S
        return (other for other, known in self._owners.items() if other != owner and known.asked >= since)

    def _reckoned(self, owner: str) -> _Owner:
        used_s, now = self.used_s(owner), self._clock()
        known = self._owners.setdefault(owner, _Owner(now, now))
        known.used_s, known.since = used_s, now
        return known
