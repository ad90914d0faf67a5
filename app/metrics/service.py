"""The metrics components of one process, wired together."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from app.metrics import multiprocess
from app.metrics.exposition import Exposition
from app.metrics.history import History, point
from app.metrics.recorder import MetricsRecorder
from app.metrics.sampler import Sampler
from app.settings import Settings


class MetricsService:
    """The metrics of a process of `program`, whose components report `facts`.

    Each component is created on first use, because that must happen after fork.
    """

    def __init__(self, settings: Settings, program: str, facts: Callable[[], Mapping[str, Any]]) -> None:
        self._settings, self._program, self._facts = settings, program, facts

    @cached_property
    def recorder(self) -> MetricsRecorder:
        """Return this process's recorder."""
        return MetricsRecorder(self._program, multiprocess.folder())

    @cached_property
    def exposition(self) -> Exposition:
        """Return the collector over all processes."""
        return Exposition(self._settings, self.recorder, self._facts)

    @cached_property
    def sampler(self) -> Sampler:
        """Return the thread that samples this process's components."""
        return Sampler(self.recorder, self._facts, self._record_history)

    @cached_property
    def history(self) -> History | None:
        """Return the last 15 minutes, None where processes share no folder."""
        folder = self.recorder.folder
        return History(folder) if folder and self._program == "web" else None

    def start(self) -> None:
        """Start sampling."""
        self.sampler.start()

    def stop(self) -> None:
        """Stop sampling; safe to call twice, and without a start."""
        self.sampler.stop()
        if self.history:
            self.history.close()

    def text(self) -> bytes:
        """Return the body of /metrics."""
        self.sampler.sample()
        return self.exposition.text()

    def now(self) -> dict[str, Any]:
        """Return the current point of /status."""
        self.sampler.sample()
        return point(self.exposition.collect())

    def _record_history(self) -> None:
        """Write a point of the history if this process must."""
        if self.history and self.history.is_due():
            self.history.write(point(self.exposition.collect()))
