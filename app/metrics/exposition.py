"""The response of /metrics: metrics of all processes of this stack, its jobs, its disks and the watchdog."""

import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from app.auth.keys import KeyFile
from app.errors import KeyStoreUnavailable, NotReady
from app.files import DamagedFile, read_file
from app.jobs.stats import JobStats
from app.jobs.storage.store import JobStore
from app.metrics import multiprocess
from app.metrics.definitions import FAMILIES
from app.metrics.recorder import MetricsRecorder
from app.settings import Settings

STALE_S = 60.0  # age from which the watchdog's file is ignored
MAX_TRIES = 3
_UNREADABLE = (struct.error, OSError, ValueError, KeyError, IndexError, TypeError)


class Exposition:
    """A collector over all processes that share the folder of `recorder`.

    `facts` is called at each scrape for the current state of the worker that answers.
    """

    def __init__(self, settings: Settings, recorder: MetricsRecorder, facts: Callable[[], Mapping[str, Any]]) -> None:
        self._settings, self._recorder, self._facts = settings, recorder, facts
        self._job_stats = JobStats(JobStore(settings.data_dir / "jobs"))
        self._watchdog = settings.run_dir / "watchdog" / "watchdog.prom"
        self._keys = KeyFile(settings.keys_file)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format, version 0.0.4."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; prometheus-client's collector interface."""
        yield from self._merged_metrics()
        yield from self._current()
        yield from self._watchdog_metrics()

    def _merged_metrics(self) -> list[Metric]:
        """Return the metrics that the processes record, merged over all of them."""
        folder = self._recorder.folder
        if folder is None:
            return list(self._recorder.registry.collect())
        for _ in range(MAX_TRIES):  # another process may be creating a file; retry reads it whole
            with suppress(*_UNREADABLE):
                return _merge(multiprocess.readable(folder))
        return _merge([path for path in multiprocess.readable(folder) if _is_readable(path)])

    def _current(self) -> Iterator[Metric]:
        """Yield the gauges that are read at each scrape."""
        settings, facts = self._settings, self._current_facts()
        jobs, now = self._job_stats.count(), time.time()
        yield _gauge("clipstack_info", {(_version(), settings.model): 1})
        triton_answers = facts.get("triton_answers", False)
        yield _gauge("clipstack_triton_answers", {(): triton_answers})
        ready = {key: is_ready and triton_answers for key, is_ready in facts.get("models", {}).items()}
        yield _gauge("clipstack_model_ready", ready)
        yield _gauge("clipstack_model_precision", facts.get("precisions", {}))
        yield _gauge("clipstack_jobs", {(state,): count for state, count in jobs.states.items()})
        yield _gauge("clipstack_jobs_oldest_waiting_seconds", {(): jobs.oldest_waiting_s})
        yield _gauge("clipstack_jobs_longest_still_seconds", {(): jobs.longest_still_s})
        yield _gauge("clipstack_webhook_events", {(state,): count for state, count in jobs.webhooks.items()})
        yield _gauge("clipstack_webhook_oldest_pending_seconds", {(): jobs.oldest_webhook_s})
        damaged = {**jobs.damaged, "key": self._damaged_keys()}
        yield _gauge("clipstack_damaged_records", {(kind,): count for kind, count in damaged.items()})
        disks = {name: _disk(path) for name, path in self._folders().items() if path.is_dir()}
        yield _gauge("clipstack_disk_free_bytes", {(name,): free for name, (free, _) in disks.items()})
        yield _gauge("clipstack_disk_bytes", {(name,): total for name, (_, total) in disks.items()})
        with suppress(OSError):
            yield _gauge("clipstack_watchdog_age_seconds", {(): max(0.0, now - self._watchdog.stat().st_mtime)})

    def _current_facts(self) -> Mapping[str, Any]:
        """Return the components' state, empty while the worker is not ready."""
        try:
            return self._facts()
        except NotReady:
            return {}

    def _damaged_keys(self) -> int:
        """Return how many keys cannot be used; 1 for a file that cannot be read."""
        try:
            return len(self._keys.damaged())
        except KeyStoreUnavailable:
            return 1

    def _folders(self) -> dict[str, Path]:
        settings = self._settings
        return {"data": settings.data_dir, "uploads": settings.run_dir / "uploads", "shared_memory": Path("/dev/shm")}

    def _watchdog_metrics(self) -> list[Metric]:
        """Return the watchdog's metrics, none if its file is stale or damaged."""
        try:
            if time.time() - self._watchdog.stat().st_mtime > STALE_S:
                return []
            return list(text_string_to_metric_families(read_file(self._watchdog).decode()))
        except (OSError, ValueError, DamagedFile):
            return []


def _merge(paths: list[str]) -> list[Metric]:
    return list(MultiProcessCollector.merge(paths))  # type: ignore[no-untyped-call]


def _is_readable(path: str) -> bool:
    """Return whether one process's file can be read; damaged ones are left out."""
    try:
        _merge([path])
        return True
    except _UNREADABLE:
        return False


def _gauge(name: str, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, FAMILIES[name].help, labels=FAMILIES[name].labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


def _disk(path: Path) -> tuple[int, int]:
    """Return the bytes that unprivileged users can still write and the size of the disk of `path`."""
    stats = os.statvfs(path)
    return stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize


def _version() -> str:
    try:
        return version("clipstack")
    except PackageNotFoundError:
        return "unknown"
