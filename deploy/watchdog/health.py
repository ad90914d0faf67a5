"""Rules for when a model version needs a restart of Triton, and the backoff between restarts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

HUNG_S = 3.0  # covers at least two canaries
LOST_S = 120.0  # no client waits this long for an answer
BUSY = 0.02  # share of one CPU: a blocked process uses far less, a working one on a full machine more

Outcome = Literal["answered", "silent", "failed"]


class Observation(NamedTuple):
    """One model version at one check.

    Attributes:
        outcome: Result of its canary.
        why: Reason, when the canary was not answered.
        answers: Inferences that it ever answered.
        cpu_s: CPU time that its processes ever used, in seconds.
    """

    outcome: Outcome
    why: str
    answers: int
    cpu_s: float


class HealthTracker:
    """History of the model versions of one server."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def hopeless(self, seen: Mapping[str, Observation], now: float) -> dict[str, str]:
        """Record one check and return the versions that only a restart can help, each with the reason.

        A failed canary alone proves little, because it also waits in the queue and for a CPU. A version hangs when for
        HUNG_S it answers neither canaries nor clients and uses no CPU. It is lost when it answers nobody for LOST_S,
        whatever else it does. A version that never answered a canary is left alone, because a restart would not help
        it.

        Args:
            seen: Observation of each version.
            now: Time in seconds of a clock that does not jump.
        """
        self._records = {
            key: _Record.after(self._records.get(key), observation, now) for key, observation in seen.items()
        }
        verdicts = {key: record.verdict(now) for key, record in self._records.items()}
        return {key: verdict for key, verdict in verdicts.items() if verdict}

    @property
    def suspects(self) -> bool:
        """Whether a version left its last canary unanswered, so the next check should come soon."""
        return any(record.good and record.seen.outcome == "silent" for record in self._records.values())


class _Record(NamedTuple):
    seen: Observation
    looked: float
    good: bool  # whether it ever answered a canary
    lost: float | None = None  # since when it has answered nobody
    hung: float | None = None  # since when it has not used the CPU either

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
    """Delays between attempts that double from `first_s` to `most_s`.

    They start again at `first_s` when no attempt was needed for `most_s` after the last delay.
    """

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._wait_s, self._next = first_s, float("-inf")

    def allows(self, now: float) -> bool:
        """Return whether an attempt is allowed at `now` (seconds); if so, count it."""
        if now < self._next:
            return False
        if now >= self._next + self._most_s:
            self._wait_s = self._first_s
        self._next, self._wait_s = now + self._wait_s, min(2 * self._wait_s, self._most_s)
        return True
