"""Where jobs are handed in and asked for: what the web workers do with them, which is everything but the work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from errno import EDQUOT, ENOSPC
from pathlib import Path

from app.errors import IdempotencyConflict, JobNotFound, Overloaded, StorageFull, TooManyRequests
from app.jobs.folder import FINISHED, Asked, Folder, Job, Progress, identity, now
from app.jobs.queue import Queue
from app.jobs.retention import tidy, used_bytes
from app.media import Source
from app.settings import Settings

CANCEL_S = 2.0
POLL_S = 0.05
JOBS_RETRY_S = 10
NO_SUCH_JOB = "there is no such job; it may have been removed"

log = logging.getLogger(__name__)


class Desk:
    """One web worker's; `start` after fork, because a connection to the queue must not be shared."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = Folder(settings.data_dir / "jobs")
        self._queue: Queue | None = None

    def start(self) -> None:
        self.folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._queue = Queue(self._settings.queue, self._settings.data_dir)

    def stop(self) -> None:
        if self._queue is not None:
            self._queue.close()

    def accept(self, asked: Asked, source: Source, key: str | None) -> tuple[Job, bool]:
        """The job of an upload, on the disk and in the queue, and whether it is new: a key has one job.

        Raises IdempotencyConflict, Overloaded, StorageFull.
        """
        asked = replace(asked, id=identity(key, asked.owner), created=now())
        if key and (known := self.folder.job(asked.id)) is not None:
            return self._known(known, asked), False
        self._check_share(asked.owner)
        self._check_room(asked)
        try:
            job = self.folder.add(asked, Path(source.path), source.offset, source.length)
        except OSError as error:
            if error.errno in (ENOSPC, EDQUOT):
                raise StorageFull("the service has no room for this file now; please try again later") from error
            raise
        if job is None:  # the same key came twice at the same moment
            return self._known(Job(self.folder.path / asked.id), asked), False
        try:
            self.queue.put(job.id)
        except Exception:  # of SQLite or Redis; the worker finds the folder within a minute
            log.exception("job %s could not be put into the queue", job.id)
        return job, True

    def _known(self, job: Job, asked: Asked) -> Job:
        try:
            if job.asked().same_question(asked):
                return job
        except FileNotFoundError:
            raise Overloaded("the job of this key is just being removed; please try again") from None
        raise IdempotencyConflict("this Idempotency-Key was used for another file or other parameters")

    def _check_room(self, asked: Asked) -> None:
        settings = self._settings
        if self._active() >= settings.max_jobs:
            raise Overloaded(f"there are {settings.max_jobs} jobs already; please try again later")
        most = settings.job_gb << 30
        if self._used() + asked.bytes > most:
            tidy(self.folder, settings.job_days, most - asked.bytes)
            if self._used() + asked.bytes > most:
                raise StorageFull("the service has no room for this file now; please try again later")

    def _check_share(self, owner: str) -> None:
        """One key has at most half of the places, so that others find one."""
        most = -(-self._settings.max_jobs // 2)
        if owner and self._active(owner) >= most:
            raise TooManyRequests(f"this key has {most} jobs already, and may have no more at a time", JOBS_RETRY_S)

    def _active(self, owner: str | None = None) -> int:
        """How many jobs are not finished, of one owner or of all."""
        count = 0
        for job in self.folder.jobs():
            with suppress(FileNotFoundError):
                count += job.progress().state not in FINISHED and (owner is None or job.asked().owner == owner)
        return count

    def _used(self) -> int:
        return sum(used_bytes(job) for job in self.folder.jobs())

    @property
    def queue(self) -> Queue:
        if self._queue is None:
            raise RuntimeError("this desk is not open")
        return self._queue

    def find(self, identity: str) -> Job:
        """Raises JobNotFound."""
        job = self.folder.job(identity)
        if job is None:
            raise JobNotFound(NO_SUCH_JOB)
        return job

    def read(self, job: Job) -> tuple[Asked, Progress]:
        """What was asked and how far it is; raises JobNotFound when it was removed meanwhile."""
        try:
            return job.asked(), job.progress()
        except FileNotFoundError:
            raise JobNotFound(NO_SUCH_JOB) from None

    def newest(self, most: int, wanted: Callable[[Asked], bool]) -> list[tuple[Asked, Progress]]:
        """The newest jobs first of those that are `wanted`, `most` at most."""
        asked = []
        for job in self.folder.jobs():
            with suppress(FileNotFoundError):
                if wanted(told := job.asked()):
                    asked.append((told, job))
        asked.sort(key=lambda each: (each[0].created, each[0].id), reverse=True)
        found = []
        for each, job in asked[:most]:
            with suppress(FileNotFoundError):
                found.append((each, job.progress()))
        return found

    def place(self, identity: str) -> int | None:
        """Its place in the queue from 1 on; None when it does not wait there, or nobody knows."""
        try:
            return self.queue.waiting().index(identity) + 1
        except ValueError:
            return None
        except Exception:  # of SQLite or Redis
            log.warning("the queue does not answer", exc_info=True)
            return None

    def end(self, job: Job) -> str:
        """Cancels a job that is not finished, removes one that is; returns its state, or `removed`.

        A worker needs a moment to stop: after CANCEL_S the state may still be `running`.
        """
        deadline = time.monotonic() + CANCEL_S
        asked_to_end = False
        while True:
            with job.locked() as mine:
                if mine:
                    return self._end_mine(job, asked_to_end)
            if not job.path.exists():
                return "removed"
            if not asked_to_end:
                asked_to_end = True
                job.ask_to_end()
            if time.monotonic() >= deadline:
                return job.progress().state
            time.sleep(POLL_S)

    def _end_mine(self, job: Job, asked_to_end: bool) -> str:
        """With the lock held: nobody works on it."""
        progress = job.progress()
        if progress.state in FINISHED:
            if asked_to_end:
                return progress.state  # it ended because of us, or just before
            job.remove()
            return "removed"
        progress.state, progress.finished, progress.eta_s = "cancelled", now(), None
        job.save(progress, durable=True)
        return progress.state
