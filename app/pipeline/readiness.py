"""Readiness of the web workers of one gunicorn, shared through a folder.

<folder>/expected        number of workers expected at the start; removed once all were ready
         4711            status of the worker with this pid, locked while the worker lives

Until all expected workers have been ready once, each missing one makes the service not ready. Afterwards only workers
that serve requests count, so the replacement of a worker does not make the service unready.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

EXPECTED = "expected"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """Startup progress of one worker."""

    serves: bool = False  # accepts requests
    decoders: int = 0  # warm decoder processes
    cold: str = "its decoders have not started"  # why not all decoders are warm; empty when they are
    triton: bool = False  # Triton answers
    region: bool = False  # Triton has registered or refused the region; requests handle a refusal
    clip: str = "no clip of its own was answered yet"  # why the warm-up clip has no answer; empty when it has

    def missing_step(self) -> str:
        """Return the first missing step in words; empty when the worker is ready."""
        if self.cold:
            return self.cold
        if not self.triton:
            return "has not reached Triton"
        if not self.region:
            return "its memory is not yet known to Triton"
        return self.clip or ("" if self.serves else "about to take requests")


def expect(folder: Path, count: int) -> None:
    """Record that `count` workers are expected, and remove all previous records. Call at the start of gunicorn."""
    folder.mkdir(mode=0o750, exist_ok=True)
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    (folder / EXPECTED).write_text(str(count))


class WorkerRegistry:
    """Registry of the workers in `folder`, used after fork; without the folder this worker is the only one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.status = WorkerStatus()
        self._lock: int | None = None
        self._published: WorkerStatus | None = None

    def update(self, **fields: Any) -> None:
        """Update fields of this worker's status, and publish it."""
        self.status = replace(self.status, **fields)
        self.publish(self.status)

    def publish(self, status: WorkerStatus) -> None:
        """Publish the status of this worker."""
        if status == self._published:
            return
        self._published, path = status, self._folder / str(os.getpid())
        fresh = path.with_suffix(".new")
        with suppress(OSError):  # full disk or no folder: the other workers do not see this one
            lock = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(lock, json.dumps(asdict(status)).encode())
            fresh.replace(path)  # readers see a complete, locked file
            if self._lock is not None:
                os.close(self._lock)
            self._lock = lock

    def leave(self) -> None:
        """Remove this worker's record. Safe to call twice."""
        lock, self._lock, self._published = self._lock, None, None
        if lock is not None:
            with suppress(OSError):
                (self._folder / str(os.getpid())).unlink(missing_ok=True)
            os.close(lock)

    def statuses(self) -> list[WorkerStatus]:
        """Return the status of all living workers; remove the records of dead ones."""
        own = [self._published] if self._lock is None and self._published else []
        return [*own, *self._others()]

    def _others(self) -> Iterator[WorkerStatus]:
        for path in sorted(self._folder.glob("[0-9]*")):
            with suppress(OSError, ValueError, TypeError), path.open("rb") as file:
                if path.suffix:
                    continue  # being written
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()
                except BlockingIOError:
                    yield WorkerStatus(**json.load(file))

    def missing(self) -> list[str]:
        """Return what keeps the service from being ready, as one line per reason with the number of workers."""
        expected, living = self._expected(), self.statuses()
        counted = [status for status in living if status.serves or expected]
        lacks = Counter(lack for status in counted if (lack := status.missing_step()))
        lacks["not there yet"] = max(0, expected - len(living))
        of = max(expected, len(counted))
        reasons = [f"{count} of {of} web workers: {lack}" for lack, count in lacks.items() if count]
        if expected and not reasons:
            (self._folder / EXPECTED).unlink(missing_ok=True)
        return reasons

    def _expected(self) -> int:
        try:
            return int((self._folder / EXPECTED).read_text())
        except (OSError, ValueError):
            return 0
