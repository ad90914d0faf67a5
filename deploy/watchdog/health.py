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
        reason: Reason, when the canary was not answered.
        answers: Inferences that it ever answered.
        cpu_s: CPU time that its processes ever used, in seconds.
    """

    outcome: Outcome
    reason: str
    answers: int
    cpu_s: float


class HealthTracker:
    """History of the model versions of one server."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def failed(self, observations: Mapping[str, Observation], now: float) -> dict[str, str]:
        """Record one check and return the versions that only a restart can help, each with the reason.

        A failed canary alone proves little, because it also waits in the queue and for a CPU. A version hangs when for
        HUNG_S it answers neither canaries nor clients and uses no CPU. It is lost when it answers nobody for LOST_S,
        whatever else it does. A version that never answered a canary is left alone, because a restart would not help
        it.

        Args:
            observations: Observation of each version.
            now: Time in seconds of a clock that does not jump.
        """
        self._records = {
            key: _Record.after(self._records.get(key), observation, now) for key, observation in observations.items()
        }
        verdicts = {key: record.verdict(now) for key, record in self._records.items()}
        return {key: verdict for key, verdict in verdicts.items() if verdict}

    @property
    def has_suspects(self) -> bool:
        """Whether a version left its last canary unanswered, so the next check should come soon."""
        return any(record.has_answered and record.latest.outcome == "silent" for record in self._records.values())


class _Record(NamedTuple):
    latest: Observation
    time: float
    has_answered: bool  # whether it ever answered a canary
    silent_since: float | None = None  # since when it has answered nobody
    idle_since: float | None = None  # since when it has not used the CPU either

    @classmethod
    def after(cls, previous: _Record | None, latest: Observation, now: float) -> _Record:
        if latest.outcome == "answered":
            return cls(latest, now, has_answered=True)
        if previous is None or latest.answers != previous.latest.answers:
            return cls(latest, now, has_answered=previous is not None and previous.has_answered)
        busy = latest.cpu_s - previous.latest.cpu_s > BUSY * (now - previous.time)
        idle_since = None if busy or latest.outcome == "failed" else previous.idle_since or now
        return cls(latest, now, previous.has_answered, previous.silent_since or now, idle_since)

    def verdict(self, now: float) -> str:
        if self.has_answered and self.idle_since is not None and now - self.idle_since >= HUNG_S:
            return f"hangs: {self.latest.reason}"
        if self.has_answered and self.silent_since is not None and now - self.silent_since >= LOST_S:
            return f"has answered nobody for {now - self.silent_since:.0f} s: {self.latest.reason}"
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
