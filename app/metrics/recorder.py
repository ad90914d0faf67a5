"""The metrics of one process; label values come in the order of app/metrics/definitions.py."""

import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values

from app.metrics import multiprocess
from app.metrics.definitions import BUCKETS_S, FAMILIES, Family


class MetricsRecorder:
    """The metrics of a process of `program`, created after fork; a `folder` shares them with other processes."""

    def __init__(self, program: str, folder: Path | None = None) -> None:
        self.program, self.folder = program, folder
        self.registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        name = multiprocess.claim(folder, program) if folder else program
        if folder:
            os.environ[multiprocess.VARIABLE] = str(folder)
        # prometheus-client reads this global for each new series, so a process can have only one recorder
        shared = values.MultiProcessValue(lambda: name) if folder else None  # type: ignore[no-untyped-call]
        values.ValueClass = shared or values.MutexValue
        families = (family for family in FAMILIES.values() if family.source == "process")
        self._families: dict[str, Any] = {family.name: self._create(family) for family in families}
        self._series: dict[tuple[str, ...], Any] = {}
        # Create all files now: a process whose master was killed must not create some beside its successor's later
        self.set("clipstack_processes", 1, program)
        self.count("clipstack_videos_not_on_gpu_total", program, by=0)
        self.count("clipstack_redis_failures_total", by=0)
        self._get_series("clipstack_stage_seconds", ("infer",))

    def _create(self, family: Family) -> Any:
        args = (family.name, family.help, family.labels)
        if family.kind == "counter":
            return Counter(*args, registry=self.registry)
        if family.kind == "gauge":
            mode = "livemax" if family.name == "clipstack_backlog_seconds" else "livesum"
            return Gauge(*args, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]
        return Histogram(*args, registry=self.registry, buckets=BUCKETS_S)

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        self._get_series(name, labels).inc(by)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._get_series(name, labels).set(value)

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add to a histogram."""
        self._get_series(name, labels).observe(seconds)

    def _get_series(self, name: str, labels: tuple[str, ...]) -> Any:
        """Return the series of these labels.

        This dictionary takes a third of the time of prometheus-client's own lookup.
        """
        key = (name, *labels)
        series = self._series.get(key)
        if series is None:
            family = self._families[name]
            series = self._series[key] = family.labels(*labels) if labels else family
        return series
