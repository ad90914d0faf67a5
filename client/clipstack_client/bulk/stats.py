"""Counts of a run: rates, the time that is left, and the cost of an hour of video."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .journal import Finished

WINDOW_S = 60.0  # of the rate that the time left is estimated from
SUMS = ("resumed", "done", "video_s", "busy_s", "busy_squares_s")


@dataclass
class Stats:
    """Counts of one run, updated with each finished file.

    `files` are all of the run, `resumed` those that were finished before it, `done` those that it has finished. `price`
    is that of a machine for an hour, in any currency. `errors` are counted by code. `busy_s` is the sum of the seconds
    that each file took, `busy_squares_s` that of their squares.
    """

    files: int
    machines: int = 1
    price: float | None = None
    resumed: int = 0
    done: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    video_s: float = 0.0
    busy_s: float = 0.0
    busy_squares_s: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._recent: deque[tuple[float, int]] = deque([(self._started, 0)])

    def add(self, finished: Finished) -> None:
        """Count one finished file."""
        row = finished.row
        self.done += 1
        self.busy_s += row["seconds"]
        self.busy_squares_s += row["seconds"] ** 2
        self.video_s += (row["media"] or {}).get("duration_s") or 0.0
        if row["error_code"]:
            self.errors[row["error_code"]] += 1
        self._mark()

    def merge(self, counts: Mapping[str, Any]) -> None:
        """Add the `counts` of a part that was finished elsewhere."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + counts[name])
        self.errors.update(counts["errors"])
        self._mark()

    @property
    def counts(self) -> dict[str, Any]:
        """Return the counts that `merge` takes."""
        return {name: getattr(self, name) for name in SUMS} | {"errors": dict(self.errors)}

    def _mark(self) -> None:
        now = self.clock()
        if now - self._recent[-1][0] >= 1.0:
            self._recent.append((now, self.done))
        while now - self._recent[0][0] > WINDOW_S and len(self._recent) > 2:
            self._recent.popleft()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the start."""
        return self.clock() - self._started

    @property
    def per_s(self) -> float:
        """Return the files a second of the last minute."""
        then, done = self._recent[0]
        return (self.done - done) / max(self.clock() - then, 1e-3)

    @property
    def remaining(self) -> int:
        """Return the number of files without a row."""
        return self.files - self.resumed - self.done

    @property
    def eta_s(self) -> float | None:
        """Return the seconds left at the present rate; None before the first file."""
        return self.remaining / self.per_s if self.per_s > 0 else None

    def cost(self) -> str:
        """Return the cost of an hour of video, or of 1,000 files if all are pictures; "" before the first file."""
        if not self.done:
            return ""
        video_h = self.video_s / 3600
        unit = "per hour of video" if video_h else "per 1,000 files"
        hours = self.machines * self.elapsed_s / 3600 / (video_h or self.done / 1000)
        return f"{hours:.3g} machine hours {unit}" if self.price is None else f"{hours * self.price:.3g} {unit}"
