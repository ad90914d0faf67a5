"""Records of jobs, also of those with webhooks, and the job service on a folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.jobs.service import JobService
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import Job, now
from app.jobs.webhooks.outbox import Delivery, Outbox
from app.settings import Settings

JOB_SPEC = JobSpec("", "", "film.mp4", 10, "camera_motion", None, None, 0.5, 5)
MAX_JOBS = 10
URL = "https://hooks.example.com/clipstack"
WEBHOOK_SPEC = dataclasses.replace(JOB_SPEC, callback_url=URL)
TIME = "2026-05-04T10:00:00.000Z"


def finish(job: Job, run_at: str = "") -> Job:
    job.save(JobState(state="done", finished=run_at or now()))
    return job


@contextmanager
def running_service(settings: Settings) -> Iterator[JobService]:
    service = JobService(settings)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def run(job: Job, *percents: float, end: str = "done") -> JobState:
    """Save the states of a job that runs to its end."""
    state = job.state()
    state.state, state.started = "running", state.started or TIME
    for percent in (0.0, *percents):
        state.percent = percent
        job.save(state)
    if end:
        state.state, state.finished = end, TIME  # type: ignore[assignment]
        job.save(state, durable=True)
    return state


def listed(outbox: Outbox) -> list[tuple[str, str]]:
    return [(event.type, event.state) for event in sorted(outbox.newest(100, None, None), key=lambda row: row.number)]


def due(outbox: Outbox) -> list[Delivery]:
    return outbox.due(time.time() + 1, 10)
