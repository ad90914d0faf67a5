"""The job worker's work: claims a job, looks at all its windows; whatever happens, somebody can go on.

What becomes of a job after a try is `app/jobs/attempt.py`.
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
from app.jobs.recorder import Record
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
    """Works on jobs of `folder` with `pipeline`; several threads and several processes may."""

    def __init__(
        self, folder: JobStore, queue: Queue, pipeline: Pipeline, results: ResultCache, keeper: str = ""
    ) -> None:
        self._folder, self._queue, self._pipeline, self._results = folder, queue, pipeline, results
        self.keeper = keeper
        self._ending = threading.Event()

    def end(self) -> None:
        """Has all jobs under way stop soon, to be taken up again by the next process."""
        self._ending.set()

    def recover(self) -> None:
        """Put every job into the queue that should be in it or at work, and is not: a process may have died."""
        waiting = set(self._queue.waiting())
        left = []
        for identity in self._open_jobs() - waiting:
            if (job := self._folder.job(identity)) is None:
                continue
            with job.locked() as mine, suppress(FileNotFoundError, DamagedRecord):  # reconciliation mends these
                if mine and job.progress().state not in FINISHED:
                    left.append((job.asked().created, job.id))
        for _, identity in sorted(left):
            self._queue.put(identity)

    def _open_jobs(self) -> set[str]:
        """Return the jobs that are not finished; where the index cannot say so, all jobs."""
        try:
            return {row.id for row in self._folder.index.open_jobs()}
        except Unavailable:
            return self._folder.names()

    def work(self, identity: str) -> None:
        """One try of a job; returns at once when there is nothing to do, or somebody else is at it."""
        request_id.set(f"job-{identity}")
        job = self._folder.job(identity)
        if job is None or self._ending.is_set():
            return
        if not has_room(job.path):
            self._put_again(identity, FULL_S)  # a try that cannot write down how it ended is none
            return
        try:
            with job.locked() as mine:
                again_s = Try(job).run(self) if mine else None
        except FileNotFoundError:
            return  # removed meanwhile
        except DamagedRecord:
            repair(self._folder, job)
            return
        give_all_back()  # what a job leaves adds up: a worker does hundreds of thousands
        if again_s is not None:  # not before the lock is free
            self._put_again(identity, again_s)

    def _put_again(self, identity: str, delay_s: float) -> None:
        """Put a job back into the queue; where that fails recovery does it within half a minute."""
        try:
            self._queue.put(identity, delay_s=delay_s)
        except Exception as error:  # of SQLite or Redis
            log.warning("job %s could not be put back into the queue: %s", identity, error)

    def wait_for_room(self, job: Job) -> None:
        """Return when the disk has room again; raises Ended when the process is to end before."""
        while not has_room(job.path):
            if self._ending.wait(ROOM_POLL_S):
                raise Ended

    def look(self, job: Job, record: Record, entry: ExitStack) -> None:
        """Looks at all that was not looked at yet; raises Answered, TwinAtWork, Stopped or what the pipeline does."""
        asked = job.asked()
        found = (asked.sha256 or digest(job.source, 0, asked.bytes)) if self._results.on else ""
        held: list[CacheEntry] = []

        def consult(model: Model, laid: Grid) -> None:
            if not self._results.on:
                return
            question = key(found, asked.owner, "timeline", model.name, model.version, model.mark, laid)
            held.append(entry.enter_context(self._results.question(question, 0.0)))
            if held[0].answer and self._take_over(record, held[0].answer, laid):
                raise CacheHit
            if not held[0].mine:
                raise DuplicateRunning
            record.note_miss()

        record.consult = consult
        question = TimelineRequest(asked.model, asked.window_s, asked.hop_s)
        self._pipeline.timeline(
            Source(str(job.source), 0, asked.bytes), question, record,
            lambda: self._ending.is_set() or job.is_asked_to_end(),
        )  # fmt: skip
        for each in held:
            each.keep(json.dumps({"job": job.id}).encode())

    def _take_over(self, record: Record, answer: bytes, laid: Grid) -> bool:
        try:
            other = self._folder.job(str(json.loads(answer)["job"]))
        except (ValueError, KeyError, TypeError, RecursionError):  # damaged: looked at anew
            return False
        return other is not None and record.take_over(other, laid)
