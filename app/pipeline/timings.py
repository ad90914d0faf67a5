"""The time of each stage of one request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimings:
    """Collects milliseconds by stage, in the order in which the stages ended."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to `name`, also when the block fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, start)

    def end(self, name: str) -> None:
        """Adds the time since this object was made to `name`."""
        self._add(name, self._started)

    def _add(self, name: str, start: float) -> None:
        self._spent[name] = self._spent.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def milliseconds(self) -> dict[str, float]:
        """Time of every stage and the `total` since this object was made, milliseconds."""
        total = (time.perf_counter() - self._started) * 1e3
        return {name: round(spent, 2) for name, spent in (self._spent | {"total": total}).items()}
