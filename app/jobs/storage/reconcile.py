"""Brings the index to what the folders say, and sets aside what is damaged.

A folder that cannot be used is moved to <data>/damaged. Where only state.json is damaged, that file is moved: the job
begins again, and its journal says what it had found.
"""

from __future__ import annotations

import os
from contextlib import suppress

from app import damaged
from app.jobs.storage.index import ADDING, Row
from app.jobs.storage.records import DamagedRecord
from app.jobs.storage.store import FINISHED, Job, JobStore

UNREADABLE = "unreadable"  # the fact that counts the damaged jobs that could not be moved
BATCH = 1000


def repair(folder: JobStore, job: Job) -> bool:
    """Set aside what is damaged of a job, unless somebody works on it; return whether it can be used now."""
    with job.locked() as mine:
        if not mine:
            if os.path.lexists(job.path) and not os.access(job.path, os.R_OK | os.W_OK | os.X_OK):
                _set_aside(folder, job, "its folder may not be used")
            return False
        try:
            job.asked()
        except FileNotFoundError:
            return False
        except DamagedRecord as error:
            _set_aside(folder, job, error)
            return False
        try:
            job.progress()
        except DamagedRecord as error:
            if not damaged.set_aside(job.path / "state.json", job.data_dir, "state", error):
                return False
            folder.index.put(job.row())
        return True


def _set_aside(folder: JobStore, job: Job, why: object) -> None:
    if damaged.set_aside(job.path, job.data_dir, "job", why):
        folder.index.remove(job.id)


class Reconciler:
    """One process's; `run` is cheap where nothing changed."""

    def __init__(self, folder: JobStore) -> None:
        self._folder = folder
        self._seen = 0  # when names in the folder changed last

    def run(self) -> None:
        """Raises Unavailable while the index cannot be used, FileNotFoundError where there is no folder of jobs."""
        changed = self._folder.path.stat().st_mtime_ns
        if changed != self._seen:
            unreadable = self._compare_names()
            self._folder.index.set_facts(**{UNREADABLE: unreadable})
            self._seen = 0 if unreadable else changed
        for row in self._folder.index.open_jobs():
            self._refresh(row)

    def _compare_names(self) -> int:
        """Add what is missing in the index, remove what is gone; return how many jobs cannot be read."""
        index = self._folder.index
        for name in self._folder.strays():
            _set_aside(self._folder, Job(self._folder.path / name), "it is no folder")
        known = index.identities()
        names = self._folder.names()
        making = {row.id for row in index.open_jobs() if row.state == ADDING}
        index.remove(*(name for name in known - names - making if not os.path.lexists(self._folder.path / name)))
        rows, unreadable = list[Row](), 0
        for name in names - known:
            job = Job(self._folder.path / name, index)
            try:
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
        """What is not finished is read again: a process that changed it may have died before it wrote it down."""
        folder, job = self._folder, self._folder.job(row.id)
        if job is None:
            if row.state != ADDING or not folder.is_being_made(row.id):
                folder.index.remove(row.id)
            return
        with suppress(FileNotFoundError):
            try:
                with job.locked() as mine:
                    now = job.row()
                    # Who works on it writes down how it ends
                    if now != row and (mine or now.state not in FINISHED):
                        folder.index.put(now)
            except DamagedRecord:
                repair(folder, job)
