"""Plausibility check of the system clock: a clock that is days ahead must not remove jobs that are hours old.

While the service runs, the wall clock must advance as fast as CLOCK_BOOTTIME, which nobody sets. Across a restart it
must not have advanced by more than a long weekend. After a violation, retention by age pauses until the service has
run for a day, so that an operator can notice and correct the clock.
"""

import time

from app.jobs.storage.index import JobIndex

JUMP_S = 3600.0
WEEKEND_S = 3 * 86400.0
HOLD_S = 86400.0
SEEN, HOLD = "clock_seen", "clock_hold_s"


class Clock:
    """Clock check that stores the last reading and the remaining pause in the job index."""

    def __init__(self, index: JobIndex, kept_days: float) -> None:
        self._index = index
        half_s = kept_days * 86400.0 / 2  # half of the retention time
        self._restart_s, self._hold_s = min(WEEKEND_S, half_s), min(HOLD_S, half_s)
        self._running: float | None = None  # CLOCK_BOOTTIME at this process's last check

    def is_trusted(self) -> bool:
        """Return whether jobs may be removed by age; call it every few seconds to minutes."""
        return self.check(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def check(self, now: float, running: float) -> bool:
        """Check the wall clock `now` against `running` (CLOCK_BOOTTIME), both in seconds; see `is_trusted`."""
        facts = self._index.facts()
        last_seen, hold_s = facts.get(SEEN), facts.get(HOLD, 0.0)
        elapsed_s = 0.0 if self._running is None else running - self._running
        ahead_s = 0.0 if last_seen is None else now - last_seen - elapsed_s
        max_ahead_s = self._restart_s if self._running is None else JUMP_S
        hold_s = max(0.0, hold_s - elapsed_s)
        if last_seen is None or not -JUMP_S <= ahead_s <= max_ahead_s:
            hold_s = self._hold_s
        self._running = running
        self._index.set_numbers(**{SEEN: now, HOLD: hold_s})
        return hold_s == 0.0
