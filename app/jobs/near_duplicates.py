"""Near-duplicates of a job: kept jobs whose videos show nearly the same, such as a re-encoded copy.

Two jobs are near-duplicates if most windows of each, a sample of them, have a window of the other that is SIMILAR.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from app.errors import Unavailable
from app.files import DamagedFile
from app.jobs.search import job_head
from app.jobs.storage.store import Job, JobStore
from app.jobs.storage.vectors import Vectors, read_vectors

SIMILAR = 0.95  # cosine of coarse vectors
SHARE = 0.8  # of the sampled windows of each job
SAMPLE = 32  # windows
MAX_COMPARED = 1000  # kept jobs, the newest
MAX_LISTED = 5
# Their embeddings say how a camera moves or how sharp a picture is, and not what is in it
NOT_ABOUT_CONTENT = ("camera_motion@", "frame_quality@")

log = logging.getLogger(__name__)


def near_duplicates(store: JobStore, job: Job, owner: str) -> list[str]:
    """Return the ids of at most MAX_LISTED near-duplicates of a job among its owner's kept jobs, the newest first."""
    try:
        space, vectors = job_head(job).space, read_vectors(job.vectors).coarse
        if space.startswith(NOT_ABOUT_CONTENT) or not len(vectors):
            return []
        ids = [other for other, _ in store.index.done(MAX_COMPARED, owner) if other != job.id]
    except (FileNotFoundError, DamagedFile, Unavailable) as error:
        log.warning("job %s was not compared with others: %s", job.id, error)
        return []
    found = []
    for other, others in _vectors_in(store, ids, space):
        if _share(vectors, others) >= SHARE and _share(others, vectors) >= SHARE:
            found.append(other)
            if len(found) == MAX_LISTED:
                break
    return found


def _vectors_in(store: JobStore, ids: list[str], space: str) -> Iterator[tuple[str, Vectors]]:
    """Yield the coarse vectors of the jobs whose embeddings are in `space`."""
    for job_id in ids:
        job = store.job(job_id)
        if job is None or not job.vectors.exists():
            continue
        with suppress(FileNotFoundError, DamagedFile):
            if job_head(job).space == space and len(coarse := read_vectors(job.vectors).coarse):
                yield job_id, coarse


def _share(vectors: Vectors, others: Vectors) -> float:
    """Return the share of a sample of `vectors` that have a SIMILAR one among `others`."""
    places = np.linspace(0, len(vectors) - 1, min(SAMPLE, len(vectors))).round().astype(int)
    return float(((vectors[places] @ others.T).max(axis=1) >= SIMILAR).mean())
