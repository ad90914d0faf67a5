"""Retention of finished jobs by age, number and size; the oldest are removed first."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from app import damaged
from app.jobs.clock import Clock
from app.jobs.storage.index import Row
from app.jobs.storage.records import DamagedRecord
from app.jobs.storage.store import FINISHED, JobStore

DAY_S = 86400.0
BATCH = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """Retention limits: age in days of finished jobs, number of finished jobs of one owner, bytes of all jobs."""

    days: float
    jobs_of_owner: int
    bytes: int


def tidy(folder: JobStore, kept: Kept, clock: Clock) -> None:
    """Remove finished jobs beyond the limits; by age only while the clock is trusted."""
    folder.remove_left()
    if clock.is_trusted():
        oldest = time.time() - kept.days * DAY_S
        _remove(folder, folder.index.oldest_ended, lambda row: row.since <= oldest)
        damaged.remove_old(folder.path.parent, oldest)
    for owner, count in folder.index.ended_of_owners(kept.jobs_of_owner).items():
        _remove_number(folder, owner, count - kept.jobs_of_owner)
    make_room(folder, kept.bytes)


def make_room(folder: JobStore, most_bytes: int, most_jobs: int | None = None) -> None:
    """Remove the oldest finished jobs until all jobs take at most `most_bytes`.

    At most `most_jobs` are removed.
    """
    left = folder.index.bytes() - most_bytes
    removed = 0

    def wanted(row: Row) -> bool:
        nonlocal left, removed
        if left <= 0 or removed == most_jobs:
            return False
        left, removed = left - row.bytes, removed + 1
        return True

    _remove(folder, folder.index.oldest_ended, wanted)


def _remove_number(folder: JobStore, owner: str, number: int) -> None:
    left = number

    def wanted(_: Row) -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    _remove(folder, lambda most: folder.index.oldest_ended(most, owner), wanted)


def _remove(folder: JobStore, oldest: Callable[[int], list[Row]], wanted: Callable[[Row], bool]) -> None:
    """Remove jobs, oldest first, until `wanted` returns False."""
    tried = set[str]()
    while rows := [row for row in oldest(BATCH + len(tried)) if row.id not in tried]:
        for row in rows:
            if not wanted(row):
                return
            if not _remove_job(folder, row):
                tried.add(row.id)


def _remove_job(folder: JobStore, row: Row) -> bool:
    """Remove a finished job and return whether it is gone; the folder decides, not the index."""
    job = folder.job(row.id)
    if job is None:
        folder.index.remove(row.id)
        return True
    with job.locked() as has_lock, suppress(FileNotFoundError, DamagedRecord):
        if has_lock and job.progress().state in FINISHED:
            job.remove()
            return True
    return False
