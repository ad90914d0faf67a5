"""The last 15 minutes of metrics for /status, in one file: one worker writes it, all read it."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric

from app.files import DamagedFile, read_file, try_lock, write_file

INTERVAL_S, MAX_POINTS = 5.0, 180
# Parts of a point with a value for each label
_GROUPS = (
    *("seconds", "stages", "codes", "models", "slots", "lanes", "jobs"),
    *("disks", "decoders", "answers", "restarts", "facts", "damaged"),
)
STAGES = ("receive", "known", "queue", "probe", "decode", "infer", "answer")


class History:
    """The history file in `folder`.

    The worker that holds the lock writes. When it dies another worker takes the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._lock_path = folder / "history.json", folder / "history.lock"
        self._lock: int | None = None
        self._points: deque[str] = deque(maxlen=MAX_POINTS)  # JSON text takes a quarter of the objects' memory
        self._last = 0.0

    def is_due(self) -> bool:
        """Return whether this process must write a point now."""
        if time.monotonic() - self._last < INTERVAL_S - 0.5:
            return False
        if self._lock is None and not self._take_lock():
            return False
        self._last = time.monotonic()
        return True

    def _take_lock(self) -> bool:
        """Return whether this process became the writer; load the points written so far."""
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_lock(descriptor):
            os.close(descriptor)
            return False
        self._lock = descriptor
        self._points.extend(map(_json, self.points()))
        return True

    def write(self, point: dict[str, Any]) -> None:
        """Append a point; ignore write errors, for example of a full disk."""
        self._points.append(_json(point))
        with suppress(OSError):
            write_file(self._path, f"[{','.join(self._points)}]".encode())

    def points(self) -> list[dict[str, Any]]:
        """Return the points, oldest first; none if the file is missing or damaged."""
        try:
            points = json.loads(read_file(self._path))
        except (OSError, ValueError, RecursionError, DamagedFile):
            return []
        if not isinstance(points, list):
            return []
        return [entry for entry in points if isinstance(entry, dict) and isinstance(entry.get("time"), int | float)]

    def close(self) -> None:
        """Release the lock so that another process can write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _json(point: dict[str, Any]) -> str:
    """Return a point as compact JSON."""
    return json.dumps(point, separators=(",", ":"))


def point(families: Iterable[Metric]) -> dict[str, Any]:
    """Return the data of one moment for /status: counters, which the page turns into rates, and gauges."""
    result: dict[str, Any] = {"time": round(time.time(), 2)}
    result |= dict.fromkeys(("ok", "refused", "failed", "ends"), 0)
    result |= {name: {} for name in _GROUPS}
    for family in families:
        for name, labels, value, *_ in family.samples:
            if add_value := _ADDERS.get(name):
                add_value(result, labels, value)
    return result


def _request(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
    """Add to the responses by outcome and to the error codes; upload routes only."""
    if labels["route"] not in ("/v1/classify", "/", "/v1/jobs") or labels["method"] != "POST":
        return
    status = int(labels["status"])
    stats["ok" if status < 400 else "refused" if status < 500 else "failed"] += value
    if status >= 400:
        stats["codes"][labels["code"]] = stats["codes"].get(labels["code"], 0) + value


def _seconds(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
    """Add to the latency histogram of successful classifications."""
    if labels["route"] in ("/v1/classify", "/") and labels["outcome"] == "ok":
        stats["seconds"][labels["le"]] = stats["seconds"].get(labels["le"], 0) + value


def _stage(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
    """Set the total seconds of a stage."""
    stats["stages"][labels["stage"]] = round(value, 4)


def _adder(part: str, *names: str) -> Any:
    """Return a function that adds a value to `part`, by the values of the labels `names`."""

    def add_value(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
        key = ":".join(labels[name] for name in names)
        stats[part][key] = stats[part].get(key, 0) + value

    return add_value


def _fact(part: str, entry_name: str) -> Any:
    """Return a function that adds a value to the entry `word` of `part`."""

    def add_value(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
        stats[part][entry_name] = stats[part].get(entry_name, 0) + value

    return add_value


def _ends(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
    """Add to the number of decoder processes that ended."""
    stats["ends"] += value


def _disk(entry_name: str) -> Any:
    """Return a function that sets the entry `word` of a folder's disk."""

    def add_value(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
        stats["disks"].setdefault(labels["folder"], {})[entry_name] = value

    return add_value


def _lane(entry_name: str) -> Any:
    """Return a function that sets the entry `word` of a lane."""

    def add_value(stats: dict[str, Any], labels: dict[str, str], value: float) -> None:
        stats["lanes"].setdefault(labels["lane"], {})[entry_name] = value

    return add_value


_ADDERS = {
    "clipstack_requests_total": _request,
    "clipstack_request_seconds_bucket": _seconds,
    "clipstack_stage_seconds_sum": _stage,
    "clipstack_model_ready": _adder("models", "model", "version"),
    "clipstack_answers_total": _adder("answers", "cache"),
    "clipstack_slots": _adder("slots", "program", "state"),
    "clipstack_decoders": _adder("decoders", "program", "state"),
    "clipstack_jobs": _adder("jobs", "state"),
    "clipstack_damaged_records": _adder("damaged", "kind"),
    "clipstack_jobs_oldest_waiting_seconds": _fact("facts", "oldest_waiting_s"),
    "clipstack_decoder_ends_total": _ends,
    "clipstack_at_work": _lane("at_work"),
    "clipstack_waiting": _lane("waiting"),
    "clipstack_work_limit": _fact("facts", "limit"),
    "clipstack_processes": _adder("facts", "program"),
    "clipstack_triton_answers": _fact("facts", "triton_answers"),
    "clipstack_model_restarts_total": _fact("facts", "restarts"),
    "clipstack_program_restarts": _adder("restarts", "program"),
    "clipstack_watchdog_age_seconds": _fact("facts", "age_s"),
    "clipstack_disk_free_bytes": _disk("free"),
    "clipstack_disk_bytes": _disk("whole"),
}
