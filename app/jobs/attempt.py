"""One try of a job, and what becomes of the job after it.

queued ──▶ running ──▶ done
  ▲  │        │   └──▶ failed       a fault of the file; TRIES tries, DEATHS or FALLS that ended at the same window
  │  │        └──────▶ cancelled
  │  └───────────────▶ cancelled
  └─ (the process ended, or a fault that may pass)

A worker that dies alone may have been killed by its job. When all dies with it (the container, the machine) that is
hardly the job's doing, and is forgiven longer; but not for ever: a job may use up all memory. A full disk is not the
job's doing either: it waits, and the try does not count.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import ClipstackError, Unavailable
from app.files import FULL
from app.inference.client import ModelUnloaded
from app.jobs.recorder import Record
from app.jobs.storage.store import FINISHED, Job, State, now
from app.timeline.run import Cancelled

if TYPE_CHECKING:
    from app.jobs.worker import Worker

TRIES = 3
DEATHS = 3  # of workers alone
FALLS = 10  # of workers together with whoever starts them again
AGAIN_S = 2.0  # before the next try, for each that failed
FULL_S = 5.0  # before the next try while the disk is full
ROOM_BYTES = 4 << 20
TWIN_S = 1.0  # before it is asked again whether the job with the same question is done

log = logging.getLogger(__name__)


class CacheHit(Exception):
    """Another job has found what this one looks for."""


class DuplicateRunning(Exception):
    """Another job is finding what this one looks for."""


class Ended(Exception):
    """The process is to end."""


class Try:
    """One try of a job whose lock is held."""

    def __init__(self, job: Job) -> None:
        self._job, self._progress = job, job.progress()
        self._began = time.monotonic()

    def run(self, worker: Worker) -> float | None:
        """Seconds after which to try again, None when there is nothing more to do."""
        job, progress = self._job, self._progress
        if progress.state in FINISHED:
            return None
        if job.is_asked_to_end():
            self._finish("cancelled")
            return None
        if progress.state == "running":  # and yet nobody holds its lock
            progress.tries -= 1
            alone = progress.keeper == worker.keeper
            progress.deaths, progress.falls = progress.deaths + alone, progress.falls + (not alone)
        if progress.tries >= TRIES or progress.deaths >= DEATHS or progress.falls >= FALLS:
            message = f"{progress.deaths + progress.falls} workers were killed at the same window of it"
            progress.error = progress.error or {"code": "internal", "message": message}
            self._finish("failed")
            return None
        progress.state, progress.tries, progress.keeper = "running", progress.tries + 1, worker.keeper
        progress.started = progress.started or now()
        progress.timing_s.setdefault("queued", round(_age_s(job.asked().created), 3))
        try:
            # Durable: a job that takes the machine down must be found out by the number of its tries
            job.save(progress, durable=True)
            return self._attempt(worker)
        except OSError as error:
            if error.errno not in FULL:
                raise
        try:
            worker.wait_for_room(job)
            return self._later(FULL_S)
        except Ended:
            return None

    def _attempt(self, worker: Worker) -> float | None:
        record = Record(self._job, self._progress)
        try:
            with ExitStack() as entry:
                entry.callback(record.close)
                worker.look(self._job, record, entry)
                record.close()
                # Before the question is left: a twin must find a job that is done
                self._finish("done")
            return None
        except CacheHit:
            self._finish("done")
            return None
        except DuplicateRunning:
            return self._later(TWIN_S)
        except Cancelled:
            if self._job.is_asked_to_end():
                self._finish("cancelled")
                return None
            self._later(0.0)
            return None  # the process is to end; the next one finds the job
        except ModelUnloaded:
            self._job.journal.unlink(missing_ok=True)  # what takes its place sees things differently
            return self._again("not_ready", "the model was replaced while it was used")
        except Unavailable as error:
            return self._again(error.code, error.message)
        except ClipstackError as error:
            self._progress.error = {"code": error.code, "message": error.message}
            self._finish("failed")
            return None
        except FileNotFoundError:
            if self._job.path.is_dir():
                log.exception("a file of job %s is missing", self._job.id)
                self._progress.error = {"code": "internal", "message": "the video of this job is not there any more"}
                self._finish("failed")
            return None  # else it was removed while it was worked on
        except Exception as error:
            if getattr(error, "errno", None) in FULL:
                raise
            log.exception("job %s failed", self._job.id)
            return self._again("internal", "the service made a mistake; it has been logged")

    def _finish(self, state: State) -> None:
        progress = self._progress
        progress.state, progress.finished, progress.eta_s = state, now(), None
        if state == "done":
            progress.percent, progress.error = 100.0, None
        self._count_time()
        self._job.save(progress, durable=True)

    def _later(self, after_s: float) -> float:
        """Back into the queue through no fault of its own."""
        self._progress.state, self._progress.eta_s = "queued", None
        self._progress.tries -= 1
        self._count_time()
        self._job.save(self._progress)
        return after_s

    def _again(self, code: str, message: str) -> float:
        self._progress.state, self._progress.eta_s = "queued", None
        self._progress.error = {"code": code, "message": message}
        self._count_time()
        self._job.save(self._progress, durable=True)
        return AGAIN_S * self._progress.tries

    def _count_time(self) -> None:
        timing = self._progress.timing_s
        timing["running"] = round(timing.get("running", 0.0) + time.monotonic() - self._began, 3)


def has_room(path: Path) -> bool:
    """Return whether the disk of a job has room for what is written down of it."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize >= ROOM_BYTES


def _age_s(created: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(created).timestamp())
