"""One attempt to run a job, and the state of the job afterwards.

queued ──▶ running ──▶ done
  ▲  │        │   └──▶ failed       an error in the file; TRIES attempts, or DEATHS or FALLS kills at the same window
  │  │        └──────▶ cancelled
  │  └───────────────▶ cancelled
  └─ (the process ended, or the error may be temporary)

A worker that dies alone (DEATHS) may have been killed by its job. When its supervisor dies too (FALLS: the container or
the machine went down), the job is rarely the cause, so the limit is higher. There is still a limit, because a job may
use up all memory. A full disk is not the job's fault: the job waits, and the attempt does not count.
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
from app.inference.triton_errors import ModelUnloaded
from app.jobs.recorder import JobRecorder
from app.jobs.storage.store import FINISHED, Job, State, now
from app.timeline.run import Cancelled

if TYPE_CHECKING:
    from app.jobs.worker import Worker

TRIES = 3
DEATHS = 3  # kills of the worker alone
FALLS = 10  # kills of the worker together with its supervisor
AGAIN_S = 2.0  # delay before the next attempt, multiplied by the number of failed attempts
FULL_S = 5.0  # delay before the next attempt while the disk is full
ROOM_BYTES = 4 << 20
TWIN_S = 1.0  # interval between checks whether the job with the same input has finished

log = logging.getLogger(__name__)


class CacheHit(Exception):
    """Signal that another job already has the result of this one."""


class DuplicateRunning(Exception):
    """Signal that another job is computing the same result now."""


class Ended(Exception):
    """Signal that the process is about to end."""


class Try:
    """One attempt to run a job whose lock the caller holds."""

    def __init__(self, job: Job) -> None:
        self._job, self._progress = job, job.progress()
        self._began = time.monotonic()

    def run(self, worker: Worker) -> float | None:
        """Run the job; return the seconds until the next attempt, or None when there is none."""
        job, progress = self._job, self._progress
        if progress.state in FINISHED:
            return None
        if job.is_asked_to_end():
            self._finish("cancelled")
            return None
        if progress.state == "running":  # the previous process died: its lock is free
            progress.tries -= 1
            same_parent = progress.keeper == worker.keeper
            progress.deaths, progress.falls = progress.deaths + same_parent, progress.falls + (not same_parent)
        if progress.tries >= TRIES or progress.deaths >= DEATHS or progress.falls >= FALLS:
            message = f"{progress.deaths + progress.falls} workers were killed at the same window of it"
            progress.error = progress.error or {"code": "internal", "message": message}
            self._finish("failed")
            return None
        progress.state, progress.tries, progress.keeper = "running", progress.tries + 1, worker.keeper
        progress.started = progress.started or now()
        progress.timing_s.setdefault("queued", round(_age_s(job.asked().created), 3))
        try:
            # Durable: a job that crashes the machine must be recognised by its number of attempts
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
        record = JobRecorder(self._job, self._progress)
        try:
            with ExitStack() as entry:
                entry.callback(record.close)
                worker.look(self._job, record, entry)
                record.close()
                # Finish before the cache entry is released: a duplicate must find a finished job
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
            return None  # the process is about to end; the next one resumes the job
        except ModelUnloaded:
            self._job.journal.unlink(missing_ok=True)  # the new model's scores do not continue the old model's
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
            return None  # otherwise the job was removed while it ran
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
        """Put the job back to `queued` without counting the attempt; return `after_s`."""
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
    """Return whether a job's disk has at least `ROOM_BYTES` free for its state and journal."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize >= ROOM_BYTES


def _age_s(created: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(created).timestamp())
