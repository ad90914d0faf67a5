"""Job service of the web workers: accepts, lists, reads, cancels and removes jobs."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from app.errors import IdempotencyConflict, JobNotFound, Overloaded, StorageFull, TooManyRequests, Unavailable
from app.files import full_disk_errors
from app.jobs.storage.index import ADDING, Limits, Row
from app.jobs.storage.new_job import FOLDER_BYTES
from app.jobs.storage.reconcile import repair
from app.jobs.storage.records import FINISHED, DamagedRecord, JobSpec, JobState, State
from app.jobs.storage.retention import make_room
from app.jobs.storage.store import Job, JobStore, job_id, now
from app.media.types import Source
from app.pipeline.cache import digest
from app.settings import Settings

if TYPE_CHECKING:
    from app.jobs.queue import Queue

CANCEL_TIMEOUT_S = 2.0
POLL_S = 0.05
RETRY_AFTER_S = 10
MAX_REMOVED = 100  # finished jobs that one request may remove to make room; the job worker removes the rest
BEING_REMOVED = "the job of this Idempotency-Key is being removed; please try again in a moment"
NO_SUCH_JOB = "there is no such job; it may have been removed"

log = logging.getLogger(__name__)


class JobService:
    """Job service of one web worker process; call `start` after the fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = JobStore(settings.data_dir / "jobs")

    def start(self) -> None:
        """Create the job folder."""
        self.folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def stop(self) -> None:
        """Close the queue and the index."""
        if "queue" in self.__dict__:
            self.queue.close()
        self.folder.close()

    def accept(self, spec: JobSpec, source: Source | None, key: str | None) -> tuple[Job, bool]:
        """Store an upload as a job and enqueue it; return the job and whether it is new.

        An idempotency key always returns its existing job. Without `source` the worker downloads `spec.url`.

        Raises:
            IdempotencyConflict: The key was used for another file or other parameters.
            Overloaded: The service has its maximum of unfinished jobs.
            TooManyRequests: This owner has its maximum of unfinished jobs.
            StorageFull: There is no room for the file.
        """
        spec = replace(spec, id=job_id(key, spec.owner, self._settings.node), created=now())
        if key:
            if source is not None:
                spec = replace(spec, sha256=digest(source.path, source.offset, source.length))
            if (existing := self._existing(spec)) is not None:
                return existing, False
        with full_disk_errors():
            job = self._add(spec, source)
        if job is None:  # another request used the same key at the same time
            if (existing := self._existing(spec)) is None:
                raise Overloaded(BEING_REMOVED)
            return existing, False
        try:
            self.queue.put(job.id)
        except Exception:  # from SQLite or Redis; recovery enqueues the job within a minute
            log.exception("job %s could not be put into the queue", job.id)
        return job, True

    def made_of(self, upload: str, owner: str, key: str | None) -> Job | None:
        """Return the job that this key made of a resumable upload, which is gone since; None without one."""
        job = self.folder.job(job_id(key, owner, self._settings.node)) if key and upload else None
        try:
            return job if job and self.read(job)[0].upload == upload else None
        except JobNotFound:
            return None

    def _existing(self, spec: JobSpec) -> Job | None:
        """Return the existing job of the same idempotency key, or None; raise IdempotencyConflict."""
        job = self.folder.job(spec.id)
        if job is None:
            return None
        try:
            existing, _ = self.read(job)
            # Jobs of versions that stored no hash still have their file
            same = existing.has_same_parameters(spec) and (
                bool(spec.url) or spec.sha256 == (existing.sha256 or digest(job.source, 0, existing.bytes))
            )
        except (JobNotFound, FileNotFoundError):  # removed, or damaged and set aside
            if job.path.is_dir():
                raise Overloaded(BEING_REMOVED) from None
            return None
        if not same:
            raise IdempotencyConflict(
                "this Idempotency-Key was used for another file or other parameters: use a new one"
            )
        return job

    def _add(self, spec: JobSpec, source: Source | None) -> Job | None:
        """Reserve capacity and create the job; return None when a job of that id exists."""
        index = self.folder.index
        with self.folder.new(spec.id) as new:
            size = spec.bytes + FOLDER_BYTES
            reserved = self._reserve(Row(spec.id, spec.owner, spec.created, ADDING, time.time(), size))
            try:
                new.write(spec, source)
                if not new.publish():
                    return None
            except BaseException:
                if reserved:
                    with suppress(Unavailable):
                        index.remove(spec.id)
                raise
        return self.folder.register(spec.id)

    def _reserve(self, row: Row) -> bool:
        """Return whether this call made the reservation, and not a concurrent request with the same key."""
        settings = self._settings
        # One owner gets at most half of the capacity, so that others find some
        limits = Limits(settings.max_jobs, -(-settings.max_jobs // 2), settings.job_gb << 30)
        index, remaining = self.folder.index, limits.bytes - row.bytes
        verdict = index.reserve(row, limits)
        if verdict == "no room" and index.open_bytes() <= remaining:
            make_room(self.folder, remaining, MAX_REMOVED)
            verdict = index.reserve(row, limits)
        match verdict:
            case "full":
                raise Overloaded(
                    f"the service has {limits.jobs} unfinished jobs, the most allowed; please try again later"
                )
            case "owner full":
                message = f"this key has {limits.jobs_per_owner} unfinished jobs, the most allowed: wait for one to end"
                raise TooManyRequests(message, RETRY_AFTER_S)
            case "no room":
                raise StorageFull
        return verdict == "reserved"

    @cached_property
    def queue(self) -> Queue:
        """Connection to the queue; made for the first job, because huey is slow to import."""
        from app.jobs.queue import Queue

        return Queue(self._settings.queue, self._settings.data_dir, self._settings.node)

    def find(self, job_id: str) -> Job:
        """Return the job of that id; raise JobNotFound."""
        job = self.folder.job(job_id)
        if job is None:
            raise JobNotFound(NO_SUCH_JOB)
        return job

    def read(self, job: Job) -> tuple[JobSpec, JobState]:
        """Return a job's spec and state; raise JobNotFound when it was removed or is damaged."""
        try:
            try:
                return job.spec(), job.state()
            except DamagedRecord:
                if not repair(self.folder, job):
                    raise
                return job.spec(), job.state()
        except FileNotFoundError:
            raise JobNotFound(NO_SUCH_JOB) from None

    def newest(
        self, max_count: int, owner: str | None, state: State | None = None, before: tuple[str, str] | None = None
    ) -> list[tuple[JobSpec, JobState]]:
        """Return at most `max_count` jobs, newest first; see `JobIndex.newest`."""
        self.folder.path.stat()  # Raises when the disk is missing; an empty list would be wrong
        records = list[tuple[JobSpec, JobState]]()
        index = self.folder.index
        while len(records) < max_count and (rows := index.newest(max_count - len(records), owner, state, before)):
            before = rows[-1].created, rows[-1].id
            for row in rows:
                with suppress(JobNotFound):  # removed meanwhile, or damaged
                    records.append(self.read(self.find(row.id)))
        return records

    def queue_position(self, job_id: str) -> int | None:
        """Return a job's position in the queue, from 1; None when it is not waiting or the queue is unavailable."""
        try:
            return self.queue.waiting().index(job_id) + 1
        except ValueError:
            return None
        except Exception:  # from SQLite or Redis
            log.warning("the queue does not answer", exc_info=True)
            return None

    def cancel_or_remove(self, job: Job) -> str:
        """Cancel a running or waiting job, or remove a finished one; return its state, or `removed`.

        A worker needs a moment to stop: after `CANCEL_TIMEOUT_S` the state may still be `running`.
        """
        deadline = time.monotonic() + CANCEL_TIMEOUT_S
        is_requested = False
        while True:
            with job.locked() as has_lock:
                if has_lock:
                    return self._finish_locked(job, is_requested)
            if not job.path.exists():
                return "removed"
            if not is_requested:
                is_requested = True
                job.request_cancel()
            if time.monotonic() >= deadline:
                return self.read(job)[1].state
            time.sleep(POLL_S)

    def _finish_locked(self, job: Job, is_requested: bool) -> str:
        """Cancel or remove a job whose lock is held; return its state, or `removed`."""
        try:
            state = job.state()
        except DamagedRecord:
            state = JobState()
        if state.state in FINISHED:
            if is_requested:
                return state.state  # it ended because of this request, or just before
            job.remove()
            return "removed"
        state.state, state.finished, state.eta_s = "cancelled", now(), None
        job.save(state, durable=True)
        return state.state
