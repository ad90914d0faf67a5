"""Records of jobs for tests, and the job service on a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.jobs.service import JobService
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import Job, now
from app.settings import Settings

JOB_SPEC = JobSpec("", "", "film.mp4", 10, "camera_motion", None, None, 0.5, 5)
MAX_JOBS = 10


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
