"""The numbers of one process: counted, set and observed by name, with the labels of app/metrics/definitions.py in order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values

from app.metrics import multiprocess
from app.metrics.definitions import BUCKETS_S, FAMILIES, Family


class MetricsRecorder:
    """Of a process of `program`, made after fork; in a `folder` its numbers are seen by others too."""

    def __init__(self, program: str, folder: Path | None = None) -> None:
        self.program, self.folder = program, folder
        self.registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        name = multiprocess.claim(folder, program) if folder else program
        if folder:
            os.environ[multiprocess.VARIABLE] = str(folder)
        # prometheus-client asks for this class whenever it makes a series: so there is one meter a process
        shared = values.MultiProcessValue(lambda: name) if folder else None  # type: ignore[no-untyped-call]
        values.ValueClass = shared or values.MutexValue
        made = (family for family in FAMILIES.values() if family.source == "process")
        self._families: dict[str, Any] = {family.name: self._make(family) for family in made}
        self._series: dict[tuple[str, ...], Any] = {}
        # All files from the start: else one whose master was killed might make some beside those of its successor
        self.set("clipstack_processes", 1, program)
        self.count("clipstack_videos_not_on_gpu_total", program, by=0)
        self._of("clipstack_stage_seconds", ("infer",))

    def _make(self, family: Family) -> Any:
        told = (family.name, family.help, family.labels)
        if family.kind == "counter":
            return Counter(*told, registry=self.registry)
        if family.kind == "gauge":
            mode = "livemax" if family.name == "clipstack_backlog_seconds" else "livesum"
            return Gauge(*told, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]
        return Histogram(*told, registry=self.registry, buckets=BUCKETS_S)

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Adds to a counter."""
        self._of(name, labels).inc(by)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Sets a gauge."""
        self._of(name, labels).set(value)

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Adds to a histogram."""
        self._of(name, labels).observe(seconds)

    def _of(self, name: str, labels: tuple[str, ...]) -> Any:
        """The series of these labels; a dictionary of our own costs a third of prometheus-client's search."""
        key = (name, *labels)
        series = self._series.get(key)
        if series is None:
            family = self._families[name]
            series = self._series[key] = family.labels(*labels) if labels else family
        return series
