"""How long finished jobs stay: by age and by size, the oldest go first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from app.jobs.folder import FINISHED, Folder, Job

DAY_S = 86400.0


def tidy(folder: Folder, most_days: float, most_bytes: int) -> None:
    """Removes finished jobs that are older than `most_days`, and the oldest while all take more than `most_bytes`."""
    folder.remove_left()
    ended = sorted(_ended(folder))
    used = sum(used_bytes(job) for job in folder.jobs())
    for finished, identity, size in ended:
        if time.time() - finished < most_days * DAY_S and used <= most_bytes:
            break
        job = folder.job(identity)
        if job is not None:
            with job.locked() as mine:
                if mine:
                    job.remove()
                    used -= size


def used_bytes(job: Job) -> int:
    """Bytes on the disk of a job's files; pictures are too small to count."""
    used = 0
    for path in (job.source, job.journal, job.path / "state.json"):
        with suppress(FileNotFoundError):
            used += path.stat().st_size
    return used


def _ended(folder: Folder) -> Iterator[tuple[float, str, int]]:
    """When a job ended (seconds since the epoch), its id and its size."""
    for job in folder.jobs():
        with suppress(FileNotFoundError):
            progress = job.progress()
            if progress.state in FINISHED and progress.finished:
                yield datetime.fromisoformat(progress.finished).timestamp(), job.id, used_bytes(job)
