"""Durations of the stages of one request, which are spans of its trace too."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from app import tracing


class StageTimings:
    """Collector of milliseconds by stage, in the order in which the stages ended."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to the stage `name`, also when the block fails."""
        start = time.perf_counter()
        try:
            with tracing.span(name):
                yield
        finally:
            self._add(name, start)

    def end(self, name: str) -> None:
        """Add the time since the creation of this object to the stage `name`."""
        self._add(name, self._started)
        seconds = time.perf_counter() - self._started
        tracing.record(name, seconds, seconds)

    def split(self, name: str, part: str, seconds: float) -> None:
        """Count `seconds` of the stage `name` as the stage `part`, which came before it."""
        spent = self._spent.pop(name, 0.0)
        moved = min(max(0.0, seconds * 1e3), spent)
        self._spent[part] = self._spent.get(part, 0.0) + moved
        self._spent[name] = spent - moved
        tracing.record(part, moved / 1e3, spent / 1e3)

    def _add(self, name: str, start: float) -> None:
        self._spent[name] = self._spent.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def milliseconds(self) -> dict[str, float]:
        """Return the milliseconds of every stage, and `total` since the creation of this object."""
        total = (time.perf_counter() - self._started) * 1e3
        return {name: round(spent, 2) for name, spent in (self._spent | {"total": total}).items()}
