"""Retention of finished jobs by age, number and size; the oldest are removed first."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from app import damaged
from app.jobs.clock import Clock
from app.jobs.storage.index import Row
from app.jobs.storage.new_job import remove_leftovers
from app.jobs.storage.records import FINISHED, DamagedRecord
from app.jobs.storage.store import JobStore

DAY_S = 86400.0
BATCH = 100


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """Retention limits: age in days of finished jobs, number of finished jobs of one owner, bytes of all jobs."""

    days: float
    jobs_per_owner: int
    bytes: int


def remove_expired(folder: JobStore, limits: RetentionLimits, clock: Clock) -> None:
    """Remove finished jobs beyond the limits; by age only while the clock is trusted."""
    remove_leftovers(folder.path)
    if clock.is_trusted():
        oldest = time.time() - limits.days * DAY_S
        _remove(folder, folder.index.oldest_finished, lambda row: row.since <= oldest)
        damaged.remove_old(folder.path.parent, oldest)
    for owner, count in folder.index.finished_by_owner(limits.jobs_per_owner).items():
        _remove_count(folder, owner, count - limits.jobs_per_owner)
    make_room(folder, limits.bytes)


def make_room(folder: JobStore, max_bytes: int, max_jobs: int | None = None) -> None:
    """Remove the oldest finished jobs, at most `max_jobs`, until all jobs take at most `max_bytes`."""
    remaining = folder.index.bytes() - max_bytes
    removed = 0

    def should_remove(row: Row) -> bool:
        nonlocal remaining, removed
        if remaining <= 0 or removed == max_jobs:
            return False
        remaining, removed = remaining - row.bytes, removed + 1
        return True

    _remove(folder, folder.index.oldest_finished, should_remove)


def _remove_count(folder: JobStore, owner: str, number: int) -> None:
    remaining = number

    def should_remove(_: Row) -> bool:
        nonlocal remaining
        remaining -= 1
        return remaining >= 0

    _remove(folder, lambda max_count: folder.index.oldest_finished(max_count, owner), should_remove)


def _remove(folder: JobStore, oldest: Callable[[int], list[Row]], should_remove: Callable[[Row], bool]) -> None:
    """Remove jobs, oldest first, until `should_remove` returns False."""
    failed = set[str]()
    while rows := [row for row in oldest(BATCH + len(failed)) if row.id not in failed]:
        for row in rows:
            if not should_remove(row):
                return
            if not _remove_job(folder, row):
                failed.add(row.id)


def _remove_job(folder: JobStore, row: Row) -> bool:
    """Remove a finished job and return whether it is gone; the folder decides, not the index."""
    job = folder.job(row.id)
    if job is None:
        folder.index.remove(row.id)
        return True
    with job.locked() as has_lock, suppress(FileNotFoundError, DamagedRecord):
        if has_lock and job.state().state in FINISHED:
            job.remove()
            return True
    return False
