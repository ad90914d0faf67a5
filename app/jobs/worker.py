"""Job worker: claims a job and scans all its windows; after any failure another process can resume.

`app/jobs/attempt.py` decides the job's state after each attempt.
"""

from __future__ import annotations

import json
import logging
import threading
from contextlib import ExitStack, suppress

from app.errors import Unavailable
from app.inference.registry import Model
from app.jobs.attempt import FULL_S, CacheHit, DuplicateRunning, Ended, Try, has_room
from app.jobs.queue import Queue
from app.jobs.recorder import JobRecorder
from app.jobs.storage.reconcile import repair
from app.jobs.storage.store import FINISHED, DamagedRecord, Job, JobStore
from app.malloc import give_all_back
from app.media.types import Source
from app.pipeline.cache import CacheEntry, ResultCache, digest, key
from app.pipeline.worker import Pipeline
from app.request_id import request_id
from app.timeline.run import TimelineRequest
from app.timeline.windows import Grid

ROOM_POLL_S = 0.5

log = logging.getLogger(__name__)


class Worker:
    """Runs jobs of `folder` with `pipeline`; several threads and processes may do so at once."""

    def __init__(
        self, folder: JobStore, queue: Queue, pipeline: Pipeline, results: ResultCache, keeper: str = ""
    ) -> None:
        self._folder, self._queue, self._pipeline, self._results = folder, queue, pipeline, results
        self.keeper = keeper
        self._ending = threading.Event()

    def end(self) -> None:
        """Stop all running jobs soon; the next process resumes them."""
        self._ending.set()

    def recover(self) -> None:
        """Enqueue every unfinished job that is neither waiting nor running: a process may have died."""
        waiting = set(self._queue.waiting())
        lost = []
        for identity in self._open_jobs() - waiting:
            if (job := self._folder.job(identity)) is None:
                continue
            with job.locked() as has_lock, suppress(FileNotFoundError, DamagedRecord):  # reconciliation repairs these
                if has_lock and job.progress().state not in FINISHED:
                    lost.append((job.asked().created, job.id))
        for _, identity in sorted(lost):
            self._queue.put(identity)

    def _open_jobs(self) -> set[str]:
        """Return the ids of the unfinished jobs, or of all jobs while the index is unavailable."""
        try:
            return {row.id for row in self._folder.index.open_jobs()}
        except Unavailable:
            return self._folder.names()

    def work(self, identity: str) -> None:
        """Run one attempt of a job; return at once if there is nothing to do or another process runs it."""
        request_id.set(f"job-{identity}")
        job = self._folder.job(identity)
        if job is None or self._ending.is_set():
            return
        if not has_room(job.path):
            self._put_again(identity, FULL_S)  # an attempt that cannot write its result would be wasted
            return
        try:
            with job.locked() as has_lock:
                retry_after_s = Try(job).run(self) if has_lock else None
        except FileNotFoundError:
            return  # removed meanwhile
        except DamagedRecord:
            repair(self._folder, job)
            return
        give_all_back()  # a worker runs hundreds of thousands of jobs, and freed heap memory would add up
        if retry_after_s is not None:  # only after the lock is released
            self._put_again(identity, retry_after_s)

    def _put_again(self, identity: str, delay_s: float) -> None:
        """Put a job back into the queue; if that fails, recovery does it within half a minute."""
        try:
            self._queue.put(identity, delay_s=delay_s)
        except Exception as error:  # from SQLite or Redis
            log.warning("job %s could not be put back into the queue: %s", identity, error)

    def wait_for_room(self, job: Job) -> None:
        """Wait until the disk has room; raise Ended if the process is about to end first."""
        while not has_room(job.path):
            if self._ending.wait(ROOM_POLL_S):
                raise Ended

    def look(self, job: Job, record: JobRecorder, entry: ExitStack) -> None:
        """Scan all windows that have no scores yet.

        Raises:
            CacheHit: Another job has the result already.
            DuplicateRunning: Another job computes the same result now.
            Cancelled: The job was cancelled, or the process is about to end.
            ClipstackError: The pipeline failed.
        """
        spec = job.asked()
        file_hash = (spec.sha256 or digest(job.source, 0, spec.bytes)) if self._results.on else ""
        entries: list[CacheEntry] = []

        def consult(model: Model, laid: Grid) -> None:
            if not self._results.on:
                return
            cache_key = key(file_hash, spec.owner, "timeline", model.name, model.version, model.mark, laid)
            entries.append(entry.enter_context(self._results.question(cache_key, 0.0)))
            if entries[0].answer and self._take_over(record, entries[0].answer, laid):
                raise CacheHit
            if not entries[0].mine:
                raise DuplicateRunning
            record.note_miss()

        record.consult = consult
        question = TimelineRequest(spec.model, spec.window_s, spec.hop_s)
        self._pipeline.timeline(
            Source(str(job.source), 0, spec.bytes), question, record,
            lambda: self._ending.is_set() or job.is_asked_to_end(),
        )  # fmt: skip
        for cache_entry in entries:
            cache_entry.keep(json.dumps({"job": job.id}).encode())

    def _take_over(self, record: JobRecorder, answer: bytes, laid: Grid) -> bool:
        try:
            other = self._folder.job(str(json.loads(answer)["job"]))
        except (ValueError, KeyError, TypeError, RecursionError):  # damaged: scan again
            return False
        return other is not None and record.take_over(other, laid)
