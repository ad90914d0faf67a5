"""Unsure answers: those whose best score is below a threshold are kept for a person, up to a limit.

Nothing here fails a request or a job: an answer that cannot be kept is left out and logged.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.errors import ClipstackError
from app.feedback.records import Answer, ClipFacts
from app.feedback.store import FeedbackStore
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import Job
from app.media.types import Source

MAX_SEGMENTS = 20  # unsure segments kept of one job, the least sure ones

log = logging.getLogger(__name__)


def keep_unsure_answer(
    store: FeedbackStore, below: float, source: Source, facts: ClipFacts, body: Mapping[str, Any]
) -> None:
    """Keep an answer of `/v1/classify` if its best score is less than `below`."""
    best = body["predictions"][0]
    if best["score"] >= below:
        return
    answer = Answer(body["model"], body["model_version"], (), (best["label"],), best["score"])
    _keep(store, source, facts, [answer])


def keep_unsure_segments(store: FeedbackStore, below: float, job: Job) -> None:
    """Keep the segments of a finished job whose score is less than `below`."""
    try:
        spec, state = job.spec(), job.state()
    except (ClipstackError, FileNotFoundError):  # removed or damaged meanwhile
        return
    if state.state != "done" or state.timeline is None or spec.labels or spec.exclude:
        return
    unsure = [segment for segment in state.timeline["segments"] if segment["score"] < below]
    answers = [
        Answer(
            spec.model.partition("@")[0],
            state.model_version,
            predicted=(segment["label"],),
            score=segment["score"],
            start_s=segment["start_s"],
            end_s=segment["end_s"],
            job=spec.id,
        )
        for segment in sorted(unsure, key=lambda segment: segment["score"])[:MAX_SEGMENTS]
    ]
    if answers:
        with suppress(FileNotFoundError):
            length = job.source.stat().st_size
            _keep(store, Source(str(job.source), 0, length), facts_of_job(spec, state), answers)


def facts_of_job(spec: JobSpec, state: JobState) -> ClipFacts:
    """Return what a job knows of its file."""
    media = state.media or {}
    return ClipFacts(spec.owner, spec.name, "video", media.get("duration_s"), media.get("fps"), spec.sha256)


def _keep(store: FeedbackStore, source: Source, facts: ClipFacts, answers: list[Answer]) -> None:
    try:
        if store.has_place_for_unsure(facts.owner):
            store.put(source, facts, answers)
    except (ClipstackError, OSError) as error:
        log.warning("an unsure answer could not be kept: %s", error)
