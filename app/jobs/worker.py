"""Job worker: claims a job and scans all its windows; after any failure another process can resume.

`app/jobs/attempt.py` decides the job's state after each attempt.
"""

import json
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

from app import tracing
from app.errors import Unavailable
from app.inference.model import Model
from app.jobs.attempt import DISK_FULL_DELAY_S, Attempt, CacheHit, DuplicateRunning, Stopping, has_room
from app.jobs.near_duplicates import near_duplicates
from app.jobs.queue import Queue
from app.jobs.recorder import JobRecorder
from app.jobs.storage.reconcile import repair
from app.jobs.storage.records import FINISHED, DamagedRecord, JobState
from app.jobs.storage.store import Job, JobStore
from app.jobs.transfers import Transfers
from app.logs import request_id
from app.malloc import collect_and_trim
from app.media.types import Source
from app.pipeline.cache import CacheEntry, ResultCache, digest, key
from app.pipeline.worker import Pipeline
from app.timeline.run import TimelineRequest
from app.timeline.windows import Grid

ROOM_POLL_S = 0.5

log = logging.getLogger(__name__)


class Worker:
    """Runs jobs of `folder` with `pipeline`; several threads and processes may do so at once."""

    def __init__(
        self,
        folder: JobStore,
        queue: Queue,
        pipeline: Pipeline,
        results: ResultCache,
        transfers: Transfers,
        parent_id: str = "",
    ) -> None:
        self._folder, self._queue, self._pipeline, self._results = folder, queue, pipeline, results
        self._transfers, self.parent_id = transfers, parent_id
        self.after_job: Callable[[Job], None] | None = None  # called after each attempt that was the last
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop all running jobs soon; the next process resumes them."""
        self._stopping.set()

    def recover(self) -> None:
        """Enqueue every unfinished job that is neither waiting nor running: a process may have died."""
        waiting = set(self._queue.waiting())
        unqueued = []
        for job_id in self._open_ids() - waiting:
            if (job := self._folder.job(job_id)) is None:
                continue
            with job.locked() as has_lock, suppress(FileNotFoundError, DamagedRecord):  # reconciliation repairs these
                if has_lock and job.state().state not in FINISHED:
                    unqueued.append((job.spec().created, job.id))
        for _, job_id in sorted(unqueued):
            self._queue.put(job_id)

    def _open_ids(self) -> set[str]:
        """Return the ids of the unfinished jobs, or of all jobs while the index is unavailable."""
        try:
            return {row.id for row in self._folder.index.open_jobs()}
        except Unavailable:
            return self._folder.names()

    def work(self, job_id: str) -> None:
        """Run one attempt of a job; return at once if there is nothing to do or another process runs it."""
        request_id.set(f"job-{job_id}")
        job = self._folder.job(job_id)
        if job is None or self._stopping.is_set():
            return
        if not has_room(job.path):
            self._requeue(job_id, DISK_FULL_DELAY_S)  # an attempt that cannot write its result would be wasted
            return
        try:
            with job.locked() as has_lock:
                retry_after_s = Attempt(job).run(self) if has_lock else None
        except FileNotFoundError:
            return  # removed meanwhile
        except DamagedRecord:
            repair(self._folder, job)
            return
        if retry_after_s is None and has_lock and self.after_job is not None:
            self.after_job(job)
        collect_and_trim()  # a worker runs hundreds of thousands of jobs, and freed heap memory would add up
        if retry_after_s is not None:  # only after the lock is released
            self._requeue(job_id, retry_after_s)

    def _requeue(self, job_id: str, delay_s: float) -> None:
        """Put a job back into the queue; if that fails, recovery does it within half a minute."""
        try:
            self._queue.put(job_id, delay_s=delay_s)
        except Exception as error:  # from SQLite or Redis
            log.warning("job %s could not be put back into the queue: %s", job_id, error)

    def wait_for_room(self, job: Job) -> None:
        """Wait until the disk has room; raise Ended if the process is about to end first."""
        while not has_room(job.path):
            if self._stopping.wait(ROOM_POLL_S):
                raise Stopping

    def scan(self, job: Job, recorder: JobRecorder, exit_stack: ExitStack) -> None:
        """Scan all windows that have no scores yet.

        Raises:
            CacheHit: Another job has the result already.
            DuplicateRunning: Another job computes the same result now.
            Cancelled: The job was cancelled, or the process is about to end.
            ClipstackError: The pipeline failed.
        """
        spec = job.spec()
        is_cancelled = partial(self._is_cancelled, job)
        length = self._transfers.ensure_source(job, spec, recorder, is_cancelled) if spec.url else spec.bytes
        file_hash = (spec.sha256 or digest(job.source, 0, length)) if self._results.on else ""
        entries: list[CacheEntry] = []

        def before_scan(model: Model, grid: Grid) -> None:
            if not self._results.on:
                return
            what = "timeline with embeddings" if spec.embedding else "timeline"
            cache_key = key(file_hash, spec.owner, what, model.name, model.version, model.digest, grid)
            entries.append(exit_stack.enter_context(self._results.entry(cache_key, 0.0)))
            if entries[0].answer and self._copy_results(recorder, entries[0].answer, grid):
                raise CacheHit
            if not entries[0].is_locked:
                raise DuplicateRunning
            recorder.record_cache_miss()

        recorder.before_scan = before_scan
        request = TimelineRequest(spec.model, spec.window_s, spec.hop_s, spec.embedding)
        source = Source(str(job.source), 0, length)
        attributes: dict[str, tracing.Attribute] = {"clipstack.job": job.id, "clipstack.model": spec.model}
        with tracing.span("job", parent=spec.traceparent, attributes=attributes):
            self._pipeline.timeline(source, request, recorder, is_cancelled)
        for cache_entry in entries:
            cache_entry.new_answer = json.dumps({"job": job.id}).encode()

    def write_results(self, job: Job, state: JobState) -> None:
        """Write the record of a job whose windows are all done to where its request asks; raises as `scan`."""
        spec = job.spec()
        if spec.results:
            self._transfers.write_results(spec, state, partial(self._is_cancelled, job))

    def _is_cancelled(self, job: Job) -> bool:
        return self._stopping.is_set() or job.cancel_requested()

    def near_duplicates(self, job: Job) -> list[str]:
        """Return the ids of kept jobs of the same owner with nearly the same video."""
        spec = job.spec()
        return near_duplicates(self._folder, job, spec.owner) if spec.embedding else []

    def _copy_results(self, recorder: JobRecorder, content: bytes, grid: Grid) -> bool:
        try:
            other = self._folder.job(str(json.loads(content)["job"]))
        except (ValueError, KeyError, TypeError, RecursionError):  # damaged: scan again
            return False
        return other is not None and recorder.copy_results(other, grid)
