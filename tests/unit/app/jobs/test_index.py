"""The index of jobs: as the folders say, exact, made again when it is lost, used instead of reading every folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.errors import IdempotencyConflict, Overloaded, StorageFull, TooManyRequests
from app.jobs.clock import Clock
from app.jobs.service import JobService
from app.jobs.stats import JobStats
from app.jobs.storage.index import ADDING, JobIndex, Row
from app.jobs.storage.new_job import remove_leftovers
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.retention import RetentionLimits, remove_expired
from app.jobs.storage.store import Job, JobStore, now
from app.media.types import Source
from app.settings import Settings

ASKED = JobSpec("", "", "film.mp4", 10, "camera_motion", None, None, 0.5, 5)
PLACES = 10
HOUR_S, DAY_S = 3600.0, 86400.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return dataclasses.replace(Settings.from_environment({}), data_dir=tmp_path / "data", max_jobs=PLACES)


@pytest.fixture
def service(settings: Settings) -> Iterator[JobService]:
    service = JobService(settings)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def upload(tmp_path: Path) -> Source:
    (tmp_path / "upload").write_bytes(b"0123456789")
    return Source(str(tmp_path / "upload"), 0, 10)


def finish(job: Job, run_at: str = "") -> Job:
    job.save(JobState(state="done", finished=run_at or now()))
    return job


def rows(index: JobIndex) -> set[Row]:
    return set(index.newest(1000))


def same_rows(index: JobIndex, folder: JobStore) -> bool:
    """Whether the index says what a new one made from the folders would say."""
    return {row[:4] for row in rows(index)} == {job.row()[:4] for job in folder.jobs()}


# --- Exact places ---


def test_concurrent_clients_get_no_more_jobs_than_places(service: JobService, upload: Source) -> None:
    answers, start = Counter[str](), threading.Barrier(24)

    def client() -> None:
        start.wait()
        for _ in range(3):
            try:
                service.accept(ASKED, upload, None)
                answers["accepted"] += 1
            except Overloaded:
                answers["refused"] += 1

    clients = [threading.Thread(target=client) for _ in range(24)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert answers == {"accepted": PLACES, "refused": 72 - PLACES}
    assert len(service.folder.names()) == PLACES


def test_an_owner_has_half_of_the_places_exactly(service: JobService, upload: Source) -> None:
    greedy = dataclasses.replace(ASKED, owner="greedy")
    for _ in range(PLACES // 2):
        service.accept(greedy, upload, None)
    with pytest.raises(TooManyRequests):
        service.accept(greedy, upload, None)
    finish(next(service.folder.jobs()))
    service.accept(greedy, upload, None)


def test_job_that_cannot_be_made_leaves_its_place(service: JobService, upload: Source) -> None:
    for _ in range(PLACES + 1):
        with pytest.raises(FileNotFoundError):
            service.accept(ASKED, Source("/nowhere", 0, 10), None)
    assert sum(service.folder.index.counts().values()) == 0
    assert not any(service.folder.path.iterdir())
    assert service.accept(ASKED, upload, None)[1]


def test_place_of_a_killed_submission_is_freed(service: JobService) -> None:
    index, dead, alive = service.folder.index, "a" * 24, "b" * 24
    index.put(Row(dead, "", now(), ADDING, 0.0, 1), Row(alive, "", now(), ADDING, 0.0, 1))
    with service.folder.new(alive):
        Reconciler(service.folder).run()
        assert {row.id for row in index.open_jobs()} == {alive}
    Reconciler(service.folder).run()
    assert index.open_jobs() == []


def test_clock_change_does_not_remove_new_folder(service: JobService, upload: Source) -> None:
    with service.folder.new("a" * 24) as new:
        new.write(dataclasses.replace(ASKED, id="a" * 24, created=now()), upload)
        (hidden,) = service.folder.path.iterdir()
        left = hidden.with_name(".new-left")
        left.mkdir()
        os.utime(hidden, (0, 0))
        remove_leftovers(service.folder.path)
        assert hidden.exists() and left.exists()  # both are new: a ctime cannot be set, the lock can be seen
        assert new.publish()


# --- Sizes ---


def test_whole_blocks_are_counted(service: JobService, upload: Source) -> None:
    for _ in range(PLACES):
        service.accept(ASKED, upload, None)
    on_disk = sum(
        path.lstat().st_blocks * 512 for path in [*service.folder.path.glob("*"), *service.folder.path.rglob("*/*")]
    )
    assert service.folder.index.bytes() == on_disk > PLACES * 4096


def test_limit_of_jobs_refuses_or_removes_the_oldest(settings: Settings, upload: Source) -> None:
    with closing_desk(dataclasses.replace(settings, job_gb=1)) as service:
        first, second = (finish(service.accept(ASKED, upload, None)[0]) for _ in range(2))
        row = next(row for row in service.folder.index.newest(9) if row.id == first.id)
        service.folder.index.put(row._replace(bytes=(1 << 30) - 40_000, since=1.0))
        service.accept(ASKED, upload, None)
        assert not first.path.exists() and second.path.exists()
        with pytest.raises(StorageFull):
            service.accept(dataclasses.replace(ASKED, bytes=1 << 30), upload, None)
        assert second.path.exists()  # nothing goes for what would have no room in any case


def test_an_owner_keeps_so_many_finished_jobs(service: JobService, upload: Source) -> None:
    mine = [
        finish(service.accept(dataclasses.replace(ASKED, owner="a"), upload, None)[0], _at(day)) for day in (3, 1, 2)
    ]
    others = finish(service.accept(dataclasses.replace(ASKED, owner="b"), upload, None)[0], _at(1))
    remove_expired(service.folder, RetentionLimits(7, 2, 1 << 40), Clock(service.folder.index, 7))
    assert [job.path.exists() for job in (*mine, others)] == [True, False, True, True]


def _at(day: int) -> str:
    return f"2999-01-0{day}T00:00:00.000Z"


def test_unfinished_job_is_never_removed(service: JobService, upload: Source) -> None:
    job, _ = service.accept(ASKED, upload, None)
    service.folder.index.set_state(job.id, "done", 0.0, 1)  # an index that is wrong
    clock = Clock(service.folder.index, 7)
    clock.check(0.0, 0.0)
    remove_expired(service.folder, RetentionLimits(7, 0, 0), clock)
    assert job.path.exists()


# --- As the folders say ---


@contextmanager
def closing_desk(settings: Settings) -> Iterator[JobService]:
    service = JobService(settings)
    service.start()
    try:
        yield service
    finally:
        service.stop()


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
def test_index_that_is_lost_or_damaged_is_made_again(
    service: JobService, settings: Settings, upload: Source, how: str, when: str
) -> None:
    jobs = [service.accept(ASKED, upload, None)[0] for _ in range(3)]
    finish(jobs[0])
    index = service.folder.index
    if when == "closed":
        index.close()
    elif how == "empty":
        pytest.skip("found after the longest wait for a lock")
    DAMAGE[how](index.path)
    with closing_desk(settings) as other:
        for item in (service, other):
            assert {spec.id for spec, _ in item.newest(9, None)} == {job.id for job in jobs}
            jobs.append(item.accept(ASKED, upload, None)[0])
        assert JobStats(other.folder).count().states["queued"] == 4
        assert same_rows(other.folder.index, other.folder)


def test_reconciliation_follows_what_others_did_to_the_folders(service: JobService, upload: Source) -> None:
    contents, removed, changed = (service.accept(ASKED, upload, None)[0] for _ in range(3))
    reconciler = Reconciler(service.folder)
    reconciler.run()
    shutil.rmtree(removed.path)
    Job(changed.path).save(JobState(state="running"))  # by a version that knows no index
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
    for number in range(PLACES):
        job, _ = service.accept(dataclasses.replace(ASKED, owner=f"{number % 3}"), upload, None)
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
    job, _ = service.accept(ASKED, upload, None)
    index = JobIndex(service.folder.path.parent, lambda: [], wait_s=0.1)
    with closing(index), closing(sqlite3.connect(index.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert [row.id for row in index.newest(9)] == [job.id]  # readers do not wait
        with pytest.raises(Overloaded):
            index.remove(job.id)
        other.execute("rollback")
        index.remove(job.id)
        assert index.newest(9) == []


# --- No scans ---

_COUNTED: Counter[str] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _COUNTED is not None and event in ("open", "os.scandir", "os.listdir"):
        name = os.path.basename(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes | Path) else ""
        _COUNTED[f"{event} {name}"] += 1


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """What this process opens and lists during the block."""
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


def test_requests_read_only_shown_fields(service: JobService, upload: Source) -> None:
    for _ in range(200):
        job = Job(service.folder.path / os.urandom(12).hex())
        job.path.mkdir(parents=True)
        (job.path / "job.json").write_text(json.dumps(dataclasses.asdict(ASKED) | {"id": job.id, "created": now()}))
        finish(job)
    Reconciler(service.folder).run()
    census = JobStats(service.folder)
    with counted() as events:
        assert len(service.newest(5, None)) == len(service.newest(5, "")) == 5
        service.accept(ASKED, upload, None)
        service.accept(ASKED, upload, "a key")
        census.count()
    assert events["open job.json"] <= 5 + 5 + 2 and events["open state.json"] <= 5 + 5 + 2
    assert not [event for event in events if event.startswith(("os.scandir jobs", "os.listdir jobs"))]
    with counted() as events:
        Reconciler(service.folder).run()  # of a process that has just started
    assert events["open job.json"] <= 2 and events["os.scandir jobs"] <= 2


# --- Idempotency ---


def test_key_with_other_bytes_is_a_conflict(service: JobService, upload: Source, tmp_path: Path) -> None:
    first, _ = service.accept(ASKED, upload, "a key")
    (tmp_path / "other").write_bytes(b"9876543210")
    with pytest.raises(IdempotencyConflict):
        service.accept(ASKED, Source(str(tmp_path / "other"), 0, 10), "a key")
    again, new = service.accept(ASKED, upload, "a key")
    assert (again.id, new) == (first.id, False)


def test_idempotency_key_without_hash_compares_the_file(service: JobService, upload: Source, tmp_path: Path) -> None:
    job, _ = service.accept(ASKED, upload, "a key")
    body = json.loads((job.path / "job.json").read_text())
    del body["sha256"]
    (job.path / "job.json").write_text(json.dumps(body))
    assert service.accept(ASKED, upload, "a key")[0].id == job.id
    (tmp_path / "other").write_bytes(b"9876543210")
    with pytest.raises(IdempotencyConflict):
        service.accept(ASKED, Source(str(tmp_path / "other"), 0, 10), "a key")


def test_same_key_at_same_moment_is_one_job(service: JobService, upload: Source) -> None:
    answers, start = list[tuple[str, bool]](), threading.Barrier(8)

    def client() -> None:
        start.wait()
        job, new = service.accept(ASKED, upload, "a key")
        answers.append((job.id, new))

    clients = [threading.Thread(target=client) for _ in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert len({job_id for job_id, _ in answers}) == 1 and len(answers) == 8
    assert sum(new for _, new in answers) == 1
    assert service.folder.index.counts()["queued"] == 1


# --- A clock that is set ---


def test_clock_that_jumps_ahead_removes_nothing_for_day(service: JobService) -> None:
    clock = Clock(service.folder.index, 7)
    clock.check(0.0, 0.0)
    running = DAY_S + 1
    assert clock.check(running, running)  # a day after the start
    assert not clock.check(running + 30 * DAY_S, running + 20)
    restarted = Clock(service.folder.index, 7)  # does not forget it
    assert not restarted.check(running + 30 * DAY_S + 60, 10.0)
    assert not restarted.check(running + 60, 20.0)  # set right again
    assert not restarted.check(running + 60 + HOUR_S, 20 + HOUR_S)
    assert restarted.check(running + 61 + DAY_S, 21 + DAY_S)


def test_removal_continues_after_downtime(service: JobService) -> None:
    clock = Clock(service.folder.index, 7)
    clock.check(0.0, 0.0)
    assert clock.check(DAY_S, DAY_S)
    assert Clock(service.folder.index, 7).check(DAY_S + 2.9 * DAY_S, 5.0)
    assert not Clock(service.folder.index, 7).check(DAY_S + 12 * DAY_S, 5.0)


def test_finished_jobs_outlive_clock_that_is_days_ahead(service: JobService, upload: Source) -> None:
    job = finish(service.accept(ASKED, upload, None)[0], "2020-01-01T00:00:00.000Z")
    clock = Clock(service.folder.index, 7)
    remove_expired(service.folder, RetentionLimits(7, 100, 1 << 40), clock)
    assert job.path.exists()
