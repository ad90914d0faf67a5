"""When a model is stuck, and when a restart would be one too many."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from deploy.watchdog.canaries import Told

STRIKES = 2


class Judge:
    """Remembers what each version of a model did."""

    def __init__(self) -> None:
        self._before: dict[str, Told] = {}
        self._strikes: dict[str, int] = {}

    def stuck(self, told: Mapping[str, Told]) -> list[str]:
        """Versions that answered once, failed STRIKES canaries in a row, and answered nobody else meanwhile.

        So one that never worked is not restarted for ever, nor one that is only slow because much is asked of it.
        """
        for key, now in told.items():
            before = self._before.get(key)
            if now.fault is None or before is None or now.answered != before.answered or not now.answered:
                self._strikes[key] = 0
            else:
                self._strikes[key] += 1
        self._before = dict(told)
        self._strikes = {key: count for key, count in self._strikes.items() if key in told}
        return sorted(key for key, count in self._strikes.items() if count >= STRIKES)

    def forget(self) -> None:
        """Of a server that was restarted nothing is known."""
        self._before, self._strikes = {}, {}


class Limit:
    """At most `most` times in `within_s` seconds."""

    def __init__(self, most: int, within_s: float) -> None:
        self._most, self._within_s = most, within_s
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Whether it may be done once more, at `now` seconds; then it is counted."""
        while self._times and self._times[0] <= now - self._within_s:
            self._times.popleft()
        if len(self._times) >= self._most:
            return False
        self._times.append(now)
        return True
