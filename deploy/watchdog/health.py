"""When a version of a model is beyond help but for a restart, and how often one may be tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

HUNG_S = 3.0  # and so two canaries at least
LOST_S = 120.0  # no client waits so long for an answer
BUSY = 0.02  # of one processor: a process that waits for ever uses far less, one that must share a full machine more

Outcome = Literal["answered", "silent", "failed"]


class Observation(NamedTuple):
    """One version at one look: what became of its canary, all answers it ever gave, processor time it ever used."""

    outcome: Outcome
    why: str
    answers: int
    cpu_s: float


class HealthTracker:
    """Remembers what each version of one server did."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def hopeless(self, seen: Mapping[str, Observation], now: float) -> dict[str, str]:
        """Versions that only a restart can help, each with the reason; `now` in seconds.

        A canary that fails says little: it also waits behind others, or for a processor. Hung is who leaves canaries
        without an answer for HUNG_S, answers nobody else and calculates nothing meanwhile; lost is who answers nobody
        for LOST_S, whatever else it does. One that never answered a canary would not do so after a restart.
        """
        self._records = {key: _Record.after(self._records.get(key), each, now) for key, each in seen.items()}
        told = {key: record.verdict(now) for key, record in self._records.items()}
        return {key: verdict for key, verdict in told.items() if verdict}

    @property
    def suspects(self) -> bool:
        """Whether one left its last canary without an answer, and should be asked again soon."""
        return any(record.good and record.seen.outcome == "silent" for record in self._records.values())


class _Record(NamedTuple):
    seen: Observation
    looked: float
    good: bool  # whether it ever answered a canary
    lost: float | None = None  # since when nobody is answered
    hung: float | None = None  # since when it does not calculate either

    @classmethod
    def after(cls, before: _Record | None, seen: Observation, now: float) -> _Record:
        if seen.outcome == "answered":
            return cls(seen, now, good=True)
        if before is None or seen.answers != before.seen.answers:
            return cls(seen, now, good=before is not None and before.good)
        busy = seen.cpu_s - before.seen.cpu_s > BUSY * (now - before.looked)
        hung = None if busy or seen.outcome == "failed" else before.hung or now
        return cls(seen, now, before.good, before.lost or now, hung)

    def verdict(self, now: float) -> str:
        if self.good and self.hung is not None and now - self.hung >= HUNG_S:
            return f"hangs: {self.seen.why}"
        if self.good and self.lost is not None and now - self.lost >= LOST_S:
            return f"has answered nobody for {now - self.lost:.0f} s: {self.seen.why}"
        return ""


class Backoff:
    """Waits between attempts that double from `first_s` to `most_s`, and begin anew when none was needed for long."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._wait_s, self._next = first_s, float("-inf")

    def allows(self, now: float) -> bool:
        """Whether to try at `now` seconds; if so, that is counted."""
        if now < self._next:
            return False
        if now >= self._next + self._most_s:
            self._wait_s = self._first_s
        self._next, self._wait_s = now + self._wait_s, min(2 * self._wait_s, self._most_s)
        return True
