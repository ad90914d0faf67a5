"""The index of jobs: equal to the folders, rebuilt when it is lost or damaged, and read instead of every folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.errors import Overloaded
from app.jobs.service import JobService
from app.jobs.stats import JobStats
from app.jobs.storage.index import JobIndex, Row
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.records import JobState
from app.jobs.storage.store import Job, JobStore, now
from app.media.types import Source
from app.settings import Settings
from tests.unit.app.jobs.records import JOB_SPEC, MAX_JOBS, finish, running_service


def rows(index: JobIndex) -> set[Row]:
    return set(index.newest(1000))


def same_rows(index: JobIndex, folder: JobStore) -> bool:
    """Return whether the index equals one rebuilt from the folders."""
    return {row[:4] for row in rows(index)} == {job.row()[:4] for job in folder.jobs()}


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "no database": lambda path: path.write_bytes(b"this is no database " * 500),
    "cut off": lambda path: os.truncate(path, 5000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
    "without a table": lambda path: _sql(path, "drop table job"),
    "without a column": lambda path: _sql(path, "alter table job rename column state to other"),
}


def _sql(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("drop index if exists job_since")
        for name in ("job_added", "job_removed", "job_changed"):
            connection.execute(f"drop trigger if exists {name}")
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("when", ["closed", "open"])
def test_lost_or_damaged_index_is_rebuilt(
    service: JobService, settings: Settings, upload: Source, how: str, when: str
) -> None:
    jobs = [service.accept(JOB_SPEC, upload, None)[0] for _ in range(3)]
    finish(jobs[0])
    index = service.folder.index
    if when == "closed":
        index.close()
    elif how == "empty":
        pytest.skip("found after the longest wait for a lock")
    DAMAGE[how](index.path)
    with running_service(settings) as other:
        for item in (service, other):
            assert {spec.id for spec, _ in item.newest(9, None)} == {job.id for job in jobs}
            jobs.append(item.accept(JOB_SPEC, upload, None)[0])
        assert JobStats(other.folder).count().states["queued"] == 4
        assert same_rows(other.folder.index, other.folder)


def test_reconciliation_follows_changes_of_folders(service: JobService, upload: Source) -> None:
    contents, removed, changed = (service.accept(JOB_SPEC, upload, None)[0] for _ in range(3))
    reconciler = Reconciler(service.folder)
    reconciler.run()
    shutil.rmtree(removed.path)
    Job(changed.path).save(JobState(state="running"))  # as a version without an index saves it
    restored = service.folder.path / ("c" * 24)
    shutil.copytree(contents.path, restored)
    body = json.loads((restored / "job.json").read_text())
    (restored / "job.json").write_text(json.dumps(body | {"id": restored.name}))
    reconciler.run()
    assert same_rows(service.folder.index, service.folder)
    assert service.folder.index.counts() == {"queued": 2, "running": 1, "done": 0, "failed": 0, "cancelled": 0}
    Job(changed.path).save(JobState(state="done", finished=now()))
    reconciler.run()
    assert service.folder.index.counts()["done"] == 1


def test_totals_are_the_sums_of_the_rows(service: JobService, upload: Source) -> None:
    for number in range(MAX_JOBS):
        job, _ = service.accept(dataclasses.replace(JOB_SPEC, owner=f"{number % 3}"), upload, None)
        if number % 2:
            finish(job)
        if number % 4 == 3:
            with job.locked():
                job.remove()
    all_rows = rows(service.folder.index)
    assert service.folder.index.bytes() == sum(row.bytes for row in all_rows)
    counts = {state: count for state, count in service.folder.index.counts().items() if count}
    assert counts == Counter(row.state for row in all_rows)


def test_locked_index_is_an_error_after_a_timeout(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    index = JobIndex(service.folder.path.parent, lambda: [], wait_s=0.1)
    with closing(index), closing(sqlite3.connect(index.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert [row.id for row in index.newest(9)] == [job.id]  # readers do not wait
        with pytest.raises(Overloaded):
            index.remove(job.id)
        other.execute("rollback")
        index.remove(job.id)
        assert index.newest(9) == []


_COUNTED: Counter[str] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _COUNTED is not None and event in ("open", "os.scandir", "os.listdir"):
        name = os.path.basename(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes | Path) else ""
        _COUNTED[f"{event} {name}"] += 1


@contextmanager
def file_accesses() -> Iterator[Counter[str]]:
    """Count the files that this process opens and the folders that it lists."""
    global _COUNTED
    if _audit not in _HOOKS:
        sys.addaudithook(_audit)
        _HOOKS.append(_audit)
    _COUNTED = events = Counter[str]()
    try:
        yield events
    finally:
        _COUNTED = None


_HOOKS: list[object] = []


def test_requests_read_only_the_jobs_they_return(service: JobService, upload: Source) -> None:
    for _ in range(200):
        job = Job(service.folder.path / os.urandom(12).hex())
        job.path.mkdir(parents=True)
        (job.path / "job.json").write_text(json.dumps(dataclasses.asdict(JOB_SPEC) | {"id": job.id, "created": now()}))
        finish(job)
    Reconciler(service.folder).run()
    stats = JobStats(service.folder)
    with file_accesses() as events:
        assert len(service.newest(5, None)) == len(service.newest(5, "")) == 5
        service.accept(JOB_SPEC, upload, None)
        service.accept(JOB_SPEC, upload, "a key")
        stats.count()
    assert events["open job.json"] <= 5 + 5 + 2 and events["open state.json"] <= 5 + 5 + 2
    assert not [event for event in events if event.startswith(("os.scandir jobs", "os.listdir jobs"))]
    with file_accesses() as events:
        Reconciler(service.folder).run()  # of a process that has just started
    assert events["open job.json"] <= 2 and events["os.scandir jobs"] <= 2
