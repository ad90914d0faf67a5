"""Jobs with webhooks, and the events in their outbox."""

from __future__ import annotations

import time

from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import Job
from app.jobs.webhooks.outbox import Delivery, Outbox

URL = "https://hooks.example.com/clipstack"
WEBHOOK_SPEC = JobSpec("", "", "film.mp4", 10, "camera_motion", None, None, 0.5, 5, callback_url=URL)
TIME = "2026-05-04T10:00:00.000Z"


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
