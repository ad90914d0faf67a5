"""Whether the time of day can be believed: a clock that is days ahead must not remove jobs that are hours old.

While the service runs, the time of day must go as fast as the machine's other clock, which nobody sets. Over a restart
it must not have gone further than a long weekend. Where it has, nothing is removed by age until the service has run for
a day: time to notice, and to set the clock right.
"""

from __future__ import annotations

import time

from app.jobs.storage.index import JobIndex

JUMP_S = 3600.0
WEEKEND_S = 3 * 86400.0
HOLD_S = 86400.0
SEEN, HOLD = "clock_seen", "clock_hold_s"


class Clock:
    """Remembers in the index when it was looked at last, and for how long it is not to be believed."""

    def __init__(self, index: JobIndex, kept_days: float) -> None:
        self._index = index
        half_s = kept_days * 86400.0 / 2  # of the time that a job is kept
        self._restart_s, self._hold_s = min(WEEKEND_S, half_s), min(HOLD_S, half_s)
        self._running: float | None = None  # the other clock, when this process looked last

    def is_trusted(self) -> bool:
        """Return whether jobs may be removed by age; called again and again, every few seconds to minutes."""
        return self.judge(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def judge(self, now: float, running: float) -> bool:
        """As `is_trusted`, with the time of day and the clock that nobody sets, in seconds."""
        facts = self._index.facts()
        seen, hold_s = facts.get(SEEN), facts.get(HOLD, 0.0)
        ran_s = 0.0 if self._running is None else running - self._running
        ahead_s = 0.0 if seen is None else now - seen - ran_s
        most_s = self._restart_s if self._running is None else JUMP_S
        hold_s = max(0.0, hold_s - ran_s)
        if seen is None or not -JUMP_S <= ahead_s <= most_s:
            hold_s = self._hold_s
        self._running = running
        self._index.set_facts(**{SEEN: now, HOLD: hold_s})
        return hold_s == 0.0
