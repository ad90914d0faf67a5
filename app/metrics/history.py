"""The last 15 minutes of metrics for /status, in one file: one worker writes it, all read it."""

import json
import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
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
    return json.dumps(point, separators=(",", ":"))


def point(families: Iterable[Metric]) -> dict[str, Any]:
    """Return the data of one moment for /status: counters, which the page turns into rates, and gauges."""
    result: dict[str, Any] = {"time": round(time.time(), 2)}
    result |= dict.fromkeys(("ok", "refused", "failed", "ends"), 0) | {name: {} for name in _GROUPS}
    for family in families:
        for name, labels, value, *_ in family.samples:
            if name == "clipstack_requests_total":
                _add_requests(result, labels, value)
            elif name == "clipstack_request_seconds_bucket":  # the latency of successful classifications
                if labels["route"] in ("/v1/classify", "/") and labels["outcome"] == "ok":
                    _add(result, ("seconds", labels["le"]), value)
            elif steps := _STEPS.get(name):
                _add(result, [step.format(**labels) for step in steps], value)
    return result


def outcome(status: int) -> str:
    """Return ok, refused (4xx) or failed (5xx)."""
    return "ok" if status < 400 else "refused" if status < 500 else "failed"


def _add_requests(result: dict[str, Any], labels: dict[str, str], value: float) -> None:
    """Add uploads to the responses by outcome and to the error codes."""
    if labels["route"] not in ("/v1/classify", "/", "/v1/jobs") or labels["method"] != "POST":
        return
    status = int(labels["status"])
    result[outcome(status)] += value
    if status >= 400:
        _add(result, ("codes", labels["code"]), value)


def _add(result: dict[str, Any], steps: Sequence[str], value: float) -> None:
    """Add to the entry of `result` that these steps lead to."""
    for step in steps[:-1]:
        result = result.setdefault(step, {})
    result[steps[-1]] = round(result.get(steps[-1], 0) + value, 4)


# Where a point has the value of a series: the steps from its top, with the values of labels in braces
_STEPS = {
    "clipstack_stage_seconds_sum": ("stages", "{stage}"),
    "clipstack_model_ready": ("models", "{model}:{version}"),
    "clipstack_answers_total": ("answers", "{cache}"),
    "clipstack_slots": ("slots", "{program}:{state}"),
    "clipstack_decoders": ("decoders", "{program}:{state}"),
    "clipstack_decoder_ends_total": ("ends",),
    "clipstack_jobs": ("jobs", "{state}"),
    "clipstack_jobs_oldest_waiting_seconds": ("facts", "oldest_waiting_s"),
    "clipstack_damaged_records": ("damaged", "{kind}"),
    "clipstack_at_work": ("lanes", "{lane}", "at_work"),
    "clipstack_waiting": ("lanes", "{lane}", "waiting"),
    "clipstack_work_limit": ("facts", "limit"),
    "clipstack_processes": ("facts", "{program}"),
    "clipstack_triton_answers": ("facts", "triton_answers"),
    "clipstack_model_restarts_total": ("facts", "restarts"),
    "clipstack_program_restarts": ("restarts", "{program}"),
    "clipstack_watchdog_age_seconds": ("facts", "age_s"),
    "clipstack_disk_free_bytes": ("disks", "{folder}", "free"),
    "clipstack_disk_bytes": ("disks", "{folder}", "whole"),
}
