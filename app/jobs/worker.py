"""Does one job: claims it, looks at all its windows, says how it ended; whatever happens, somebody can go on.

queued ──▶ running ──▶ done
  ▲  │        │   └──▶ failed       a fault of the file; TRIES tries, DEATHS or FALLS that ended at the same window
  │  │        └──────▶ cancelled
  │  └───────────────▶ cancelled
  └─ (the process ended, or a fault that may pass)

A worker that dies alone may have been killed by its job. When all dies with it (the container, the machine) that is
hardly the job's doing, and is forgiven longer; but not for ever: a job may use up all memory.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import ExitStack
from datetime import datetime

from app.errors import ClipstackError, Unavailable
from app.inference import ModelGone
from app.jobs.folder import FINISHED, Folder, Job, State, now
from app.jobs.queue import Queue
from app.jobs.record import Record
from app.media import Source
from app.memory import give_all_back
from app.models import Model
from app.pipeline import Pipeline
from app.request_id import request_id
from app.results import Entry, Results, digest, key
from app.timeline.flow import Stopped, TimelineQuestion
from app.timeline.windows import Grid

TRIES = 3
DEATHS = 3  # of workers alone
FALLS = 10  # of workers together with whoever starts them again
AGAIN_S = 2.0  # before the next try, for each that failed
TWIN_S = 1.0  # before it is asked again whether the job with the same question is done

log = logging.getLogger(__name__)


class Answered(Exception):
    """Another job has found what this one looks for."""


class TwinAtWork(Exception):
    """Another job is finding what this one looks for."""


class Worker:
    """Works on jobs of `folder` with `pipeline`; several threads and several processes may."""

    def __init__(self, folder: Folder, queue: Queue, pipeline: Pipeline, results: Results, keeper: str = "") -> None:
        self._folder, self._queue, self._pipeline, self._results = folder, queue, pipeline, results
        self.keeper = keeper
        self._ending = threading.Event()

    def end(self) -> None:
        """Has all jobs under way stop soon, to be taken up again by the next process."""
        self._ending.set()

    def recover(self) -> None:
        """Puts every job into the queue that should be in it or at work, and is not: a process may have died."""
        waiting = set(self._queue.waiting())
        left = []
        for job in self._folder.jobs():
            if job.id not in waiting:
                with job.locked() as mine:
                    if mine and job.progress().state not in FINISHED:
                        left.append((job.asked().created, job.id))
        for _, identity in sorted(left):
            self._queue.put(identity)

    def work(self, identity: str) -> None:
        """One try of a job; returns at once when there is nothing to do, or somebody else is at it."""
        request_id.set(f"job-{identity}")
        job = self._folder.job(identity)
        if job is None or self._ending.is_set():
            return
        with job.locked() as mine:
            again_s = _Try(job).run(self) if mine else None
        give_all_back()  # what a job leaves adds up: a worker does hundreds of thousands
        if again_s is not None:  # not before the lock is free
            self._queue.put(identity, delay_s=again_s)

    def look(self, job: Job, record: Record, entry: ExitStack) -> None:
        """Looks at all that was not looked at yet; raises Answered, TwinAtWork, Stopped or what the pipeline does."""
        asked = job.asked()
        found = digest(job.source, 0, asked.bytes) if self._results.on else ""
        held: list[Entry] = []

        def consult(model: Model, laid: Grid) -> None:
            if not self._results.on:
                return
            question = key(found, asked.owner, "timeline", model.name, model.version, model.mark, laid)
            held.append(entry.enter_context(self._results.question(question, 0.0)))
            if held[0].answer and self._take_over(record, held[0].answer, laid):
                raise Answered
            if not held[0].mine:
                raise TwinAtWork
            record.note_miss()

        record.consult = consult
        question = TimelineQuestion(asked.model, asked.window_s, asked.hop_s)
        self._pipeline.timeline(
            Source(str(job.source), 0, asked.bytes), question, record,
            lambda: self._ending.is_set() or job.is_asked_to_end(),
        )  # fmt: skip
        for each in held:
            each.keep(json.dumps({"job": job.id}).encode())

    def _take_over(self, record: Record, answer: bytes, laid: Grid) -> bool:
        other = self._folder.job(str(json.loads(answer)["job"]))
        return other is not None and record.take_over(other, laid)


class _Try:
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
        job.save(progress)
        return self._attempt(worker)

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
        except Answered:
            self._finish("done")
            return None
        except TwinAtWork:
            return self._later(TWIN_S)
        except Stopped:
            if self._job.is_asked_to_end():
                self._finish("cancelled")
                return None
            self._later(0.0)
            return None  # the process is to end; the next one finds the job
        except ModelGone:
            self._job.journal.unlink(missing_ok=True)  # what takes its place sees things differently
            return self._again("not_ready", "the model was replaced while it was used")
        except Unavailable as error:
            return self._again(error.code, error.message)
        except ClipstackError as error:
            self._progress.error = {"code": error.code, "message": error.message}
            self._finish("failed")
            return None
        except FileNotFoundError:
            return None  # removed while it was worked on
        except Exception:
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
        self._job.save(self._progress)
        return AGAIN_S * self._progress.tries

    def _count_time(self) -> None:
        timing = self._progress.timing_s
        timing["running"] = round(timing.get("running", 0.0) + time.monotonic() - self._began, 3)


def _age_s(created: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(created).timestamp())
