"""Reconciliation of the index with the job folders, and quarantine of damaged jobs.

A folder that cannot be used is moved to <data>/damaged. If only state.json is damaged, only that file is moved: the job
starts again and resumes from its journal.
"""

import os
from contextlib import suppress

from app import damaged
from app.jobs.storage.index import ADDING, Row
from app.jobs.storage.records import FINISHED, DamagedRecord
from app.jobs.storage.store import Job, JobStore

UNREADABLE = "unreadable"  # name of the fact that counts the damaged jobs that could not be moved
BATCH = 1000


def repair(folder: JobStore, job: Job) -> bool:
    """Move the damaged parts of an unlocked job aside; return whether the job is usable now."""
    with job.locked() as has_lock:
        if not has_lock:
            if os.path.lexists(job.path) and not os.access(job.path, os.R_OK | os.W_OK | os.X_OK):
                _set_aside(folder, job, "its folder may not be used")
            return False
        try:
            job.spec()
        except FileNotFoundError:
            return False
        except DamagedRecord as error:
            _set_aside(folder, job, error)
            return False
        try:
            job.state()
        except DamagedRecord as error:
            if not damaged.set_aside(job.path / "state.json", job.data_dir, "state", error):
                return False
            folder.index.put(job.row())
        return True


def _set_aside(folder: JobStore, job: Job, reason: object) -> None:
    if damaged.set_aside(job.path, job.data_dir, "job", reason):
        folder.index.remove(job.id)


class Reconciler:
    """Reconciliation loop body of one process; `run` is cheap when nothing has changed."""

    def __init__(self, folder: JobStore) -> None:
        self._folder = folder
        self._last_mtime = 0  # mtime of the job folder at the last comparison

    def run(self) -> None:
        """Bring the index up to date with the folders.

        Raises:
            Unavailable: The index cannot be used now.
            FileNotFoundError: The folder of jobs does not exist.
        """
        changed = self._folder.path.stat().st_mtime_ns
        if changed != self._last_mtime:
            unreadable = self._compare_names()
            self._folder.index.set_numbers(**{UNREADABLE: unreadable})
            self._last_mtime = 0 if unreadable else changed
        for row in self._folder.index.open_jobs():
            self._refresh(row)

    def _compare_names(self) -> int:
        """Add missing jobs to the index and remove deleted ones; return how many jobs cannot be read."""
        index = self._folder.index
        for name in self._folder.names(folders=False):
            _set_aside(self._folder, Job(self._folder.path / name), "it is not a folder")
        indexed = index.identities()
        names = self._folder.names()
        reserved = {row.id for row in index.open_jobs() if row.state == ADDING}
        index.remove(*(name for name in indexed - names - reserved if not os.path.lexists(self._folder.path / name)))
        rows, unreadable = list[Row](), 0
        for name in names - indexed:
            job = self._folder.open(name)
            try:
                job.publish_events()
                rows.append(job.row())
            except FileNotFoundError:
                continue
            except DamagedRecord:
                if not repair(self._folder, job):
                    unreadable += job.path.is_dir()
            if len(rows) >= BATCH:
                index.put(*rows)
                rows.clear()
        index.put(*rows)
        return unreadable

    def _refresh(self, row: Row) -> None:
        """Read an unfinished job again: a process may have died between changing it and updating the index."""
        folder, job = self._folder, self._folder.job(row.id)
        if job is None:
            if row.state != ADDING or not folder.is_being_created(row.id):
                folder.index.remove(row.id)
            return
        with suppress(FileNotFoundError):
            try:
                with job.locked() as has_lock:
                    current = job.row()
                    # A process that holds the lock records the final state itself
                    if current != row and (has_lock or current.state not in FINISHED):
                        job.publish_events()
                        folder.index.put(current)
            except DamagedRecord:
                repair(folder, job)
