"""The parts of this package as one process of the service has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from app.errors import NotReady
from app.jobs.stats import JobStats
from app.jobs.storage.store import JobStore
from app.metrics import multiprocess
from app.metrics.exposition import Exposition
from app.metrics.history import History, point
from app.metrics.recorder import MetricsRecorder
from app.metrics.sampler import Sampler
from app.settings import Settings


class MetricsService:
    """Of a process of `program`, whose parts tell `facts`; nothing is made before it is asked for, after fork."""

    def __init__(self, settings: Settings, program: str, facts: Callable[[], Mapping[str, Any]]) -> None:
        self._settings, self._program, self._facts = settings, program, facts

    @cached_property
    def meter(self) -> MetricsRecorder:
        """Where this process counts."""
        return MetricsRecorder(self._program, multiprocess.folder())

    @cached_property
    def exposition(self) -> Exposition:
        """What all processes counted."""
        census = JobStats(JobStore(self._settings.data_dir / "jobs"))
        watchdog = self._settings.run_dir / "watchdog" / "watchdog.prom"
        return Exposition(self._settings, self.meter, census, watchdog, self._told)

    @cached_property
    def watch(self) -> Sampler:
        """What writes down now and then what the parts say."""
        return Sampler(self.meter, self._facts, self._remember)

    @cached_property
    def history(self) -> History | None:
        """The last quarter of an hour; where processes share no folder there is none."""
        folder = self.meter.folder
        return History(folder) if folder and self._program == "web" else None

    def start(self) -> None:
        """From now on numbers follow what happens."""
        self.watch.start()

    def stop(self) -> None:
        """Safe to call twice, and without a start."""
        self.watch.stop()
        if self.history:
            self.history.close()

    def text(self) -> bytes:
        """The answer of /metrics."""
        self.watch.look()
        return self.exposition.text()

    def now(self) -> dict[str, Any]:
        """What /status shows of this moment."""
        self.watch.look()
        return point(self.exposition.collect())

    def _remember(self) -> None:
        if self.history and self.history.is_due():
            self.history.write(point(self.exposition.collect()))

    def _told(self) -> Mapping[str, Any]:
        try:
            return self._facts()
        except NotReady:
            return {}
