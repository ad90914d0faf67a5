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

import logging
import os
import time
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from app.errors import ClipstackError, Unavailable
from app.files import FULL
from app.inference.triton_errors import ModelUnloaded
from app.jobs.recorder import JobRecorder
from app.jobs.storage.records import FINISHED, JobState, State
from app.jobs.storage.store import Job, now
from app.timeline.run import Cancelled

MAX_TRIES = 3
MAX_DEATHS = 3  # kills of the worker alone
MAX_FALLS = 10  # kills of the worker together with its supervisor
RETRY_DELAY_S = 2.0  # delay before the next attempt, multiplied by the number of failed attempts
DISK_FULL_DELAY_S = 5.0  # delay before the next attempt while the disk is full
ROOM_BYTES = 4 << 20
DUPLICATE_POLL_S = 1.0  # interval between checks whether the job with the same input has finished

log = logging.getLogger(__name__)


class CacheHit(Exception):
    """Signal that another job already has the result of this one."""


class DuplicateRunning(Exception):
    """Signal that another job is computing the same result now."""


class Stopping(Exception):
    """Signal that the process is about to end."""


class JobRunner(Protocol):
    """Calls of an attempt to the worker that runs it (app/jobs/worker.py)."""

    parent_id: str

    def wait_for_room(self, job: Job) -> None:
        """Wait until the disk has room."""

    def scan(self, job: Job, recorder: JobRecorder, exit_stack: ExitStack) -> None:
        """Scan all windows that have no scores yet."""

    def near_duplicates(self, job: Job) -> list[str]:
        """Return the ids of jobs with nearly the same video."""

    def write_results(self, job: Job, state: JobState) -> None:
        """Write the finished record to where its request asks."""


class Attempt:
    """One attempt to run a job whose lock the caller holds."""

    def __init__(self, job: Job) -> None:
        self._job, self._state = job, job.state()
        self._started = time.monotonic()

    def run(self, worker: JobRunner) -> float | None:
        """Run the job; return the seconds until the next attempt, or None when there is none."""
        job, state = self._job, self._state
        if state.state in FINISHED:
            return None
        if job.cancel_requested():
            self._finish("cancelled")
            return None
        if state.state == "running":  # the previous process died: its lock is free
            state.tries -= 1
            has_same_parent = state.keeper == worker.parent_id
            state.deaths, state.falls = state.deaths + has_same_parent, state.falls + (not has_same_parent)
        if state.tries >= MAX_TRIES or state.deaths >= MAX_DEATHS or state.falls >= MAX_FALLS:
            message = f"{state.deaths + state.falls} workers were killed at the same window of it"
            state.error = state.error or {"code": "internal", "message": message}
            self._finish("failed")
            return None
        state.state, state.tries, state.keeper = "running", state.tries + 1, worker.parent_id
        state.started = state.started or now()
        state.timing_s.setdefault("queued", round(_age_s(job.spec().created), 3))
        try:
            # Durable: a job that crashes the machine must be recognised by its number of attempts
            job.save(state, durable=True)
            return self._attempt(worker)
        except OSError as error:
            if error.errno not in FULL:
                raise
        try:
            worker.wait_for_room(job)
            return self._requeue(DISK_FULL_DELAY_S)
        except Stopping:
            return None

    def _attempt(self, worker: JobRunner) -> float | None:
        recorder = JobRecorder(self._job, self._state)
        try:
            with ExitStack() as exit_stack:
                exit_stack.callback(recorder.close)
                with suppress(CacheHit):
                    worker.scan(self._job, recorder, exit_stack)
                recorder.close()
                self._state.near_duplicates = worker.near_duplicates(self._job)
                worker.write_results(self._job, self._state)
                # Finish before the cache entry is released: a duplicate must find a finished job
                self._finish("done")
            return None
        except DuplicateRunning:
            return self._requeue(DUPLICATE_POLL_S)
        except Cancelled:
            if self._job.cancel_requested():
                self._finish("cancelled")
                return None
            self._requeue(0.0)
            return None  # the process is about to end; the next one resumes the job
        except ModelUnloaded:
            self._job.journal.unlink(missing_ok=True)  # the new model's scores do not continue the old model's
            return self._retry("not_ready", "the model was replaced while it was used")
        except Unavailable as error:
            return self._retry(error.code, error.message)
        except ClipstackError as error:
            self._state.error = {"code": error.code, "message": error.message}
            self._finish("failed")
            return None
        except FileNotFoundError:
            if self._job.path.is_dir():
                log.exception("a file of job %s is missing", self._job.id)
                self._state.error = {"code": "internal", "message": "the video of this job is not there any more"}
                self._finish("failed")
            return None  # otherwise the job was removed while it ran
        except Exception as error:
            if getattr(error, "errno", None) in FULL:
                raise
            log.exception("job %s failed", self._job.id)
            return self._retry("internal", "the service made a mistake; it has been logged")

    def _finish(self, outcome: State) -> None:
        state = self._state
        state.state, state.finished, state.eta_s = outcome, now(), None
        if outcome == "done":
            state.percent, state.error = 100.0, None
        self._add_running_time()
        self._job.save(state, durable=True)

    def _requeue(self, delay_s: float) -> float:
        """Put the job back to `queued` without counting the attempt; return `delay_s`."""
        self._state.state, self._state.eta_s = "queued", None
        self._state.tries -= 1
        self._add_running_time()
        self._job.save(self._state)
        return delay_s

    def _retry(self, code: str, message: str) -> float:
        self._state.state, self._state.eta_s = "queued", None
        self._state.error = {"code": code, "message": message}
        self._add_running_time()
        self._job.save(self._state, durable=True)
        return RETRY_DELAY_S * self._state.tries

    def _add_running_time(self) -> None:
        timing = self._state.timing_s
        timing["running"] = round(timing.get("running", 0.0) + time.monotonic() - self._started, 3)


def has_room(path: Path) -> bool:
    """Return whether a job's disk has at least `ROOM_BYTES` free for its state and journal."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize >= ROOM_BYTES


def _age_s(created: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(created).timestamp())
