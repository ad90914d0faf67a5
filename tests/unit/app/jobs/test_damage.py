"""Damaged records of jobs: the job starts again or is set aside, and other jobs are unaffected."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import damaged
from app.errors import JobNotFound
from app.files import DamagedFile
from app.jobs.clock import Clock
from app.jobs.service import JobService
from app.jobs.stats import JobStats
from app.jobs.storage.journal import Journal, read
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.records import JobState, parse
from app.jobs.storage.retention import RetentionLimits, remove_expired
from app.jobs.storage.store import Job
from app.jobs.worker import Worker
from app.media.types import Source
from app.pipeline.cache import ResultCache
from app.settings import Settings
from tests.unit.app.jobs.records import JOB_SPEC

TIMELINE = {
    "duration_s": 4.0, "complete_to_s": 4.0, "window_s": 1.0, "hop_s": 1.0, "margin": 0.5, "labels": ["a"],
    "segments": [{"start_s": 0.0, "end_s": 4.0, "label": "a", "score": 1.0}], "cuts_s": [], "pictures_s": [0.5],
}  # fmt: skip


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, max_jobs=100)


def replaced(path: Path) -> Path:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return path


def altered(**fields: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return damage


ANY_FILE: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a list": lambda path: path.write_text("[1, 2]"),
    "null": lambda path: path.write_text("null"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "a large number": lambda path: path.write_text("9" * 10_000),
    "not UTF-8": lambda path: path.write_bytes(path.read_bytes().replace(b'"', b"\xff", 1)),
    "a folder": lambda path: replaced(path).mkdir(),
    "a full folder": lambda path: (replaced(path) / "deeper").mkdir(parents=True),
    "a link": lambda path: replaced(path).symlink_to("/dev/zero"),
    "a dangling link": lambda path: replaced(path).symlink_to("nowhere"),
    "a FIFO": lambda path: os.mkfifo(replaced(path)),
    "NaN": lambda path: path.write_text(path.read_text().replace("0.5", "NaN").replace("0.0", "NaN")),
}
ONLY_STATE = {
    "unknown state": altered(state="paused"),
    "state is a number": altered(state=1),
    "percent is a string": altered(percent="12"),
    "percent is true": altered(percent=True),
    "tries is null": altered(tries=None),
    "timing is a list": altered(timing_s=[1]),
    "finished is no time": altered(finished="yesterday"),
    "finished has no zone": altered(finished="2026-01-01T00:00:00"),
    "timeline is empty": altered(timeline={}),
    "a segment is a number": altered(timeline=TIMELINE | {"segments": [3]}),
    "endless percent": lambda path: path.write_text(path.read_text().replace("0.0", "1e999", 1)),
}
ONLY_SPEC = {
    "bytes is a string": altered(bytes="10"),
    "name is a list": altered(name=["a"]),
    "of another job": altered(id="0" * 24),
    "without a model": lambda path: path.write_text('{"id": "1"}'),
    "created is no time": altered(created="now"),
    "missing": lambda path: path.unlink(),
}


def check_other_jobs(service: JobService, other: Job) -> None:
    """Check that list, counts, recovery and removal work as if there were no damage."""
    assert other.id in [spec.id for spec, _ in service.newest(50, None)]
    assert service.read(other)[1].state == "queued"
    assert JobStats(service.folder).count().states["queued"] >= 1
    Reconciler(service.folder).run()
    worker(service).recover()
    remove_expired(service.folder, RetentionLimits(7, 100, 1 << 30), Clock(service.folder.index, 7))


def worker(service: JobService) -> Worker:
    return Worker(service.folder, service.queue, None, ResultCache(service.folder.path, 0), None)  # type: ignore[arg-type]


def test_jobs_with_damaged_state_start_again(service: JobService, upload: Source) -> None:
    damages = ANY_FILE | ONLY_STATE
    jobs = {how: service.accept(JOB_SPEC, upload, None)[0] for how in damages}
    other, _ = service.accept(JOB_SPEC, upload, None)
    for how, job in jobs.items():
        job.save(JobState(state="done", finished="2999-01-01T00:00:00.000Z", percent=0.5, timeline=TIMELINE))
        damages[how](job.path / "state.json")
    check_other_jobs(service, other)
    waiting = service.queue.waiting()
    for how, job in jobs.items():
        assert (how, service.read(job)[1], job.id in waiting) == (how, JobState(), True)
    assert service.folder.index.counts()["queued"] == len(damages) + 1
    assert damaged.count(service.folder.path.parent)["state"] == len(damages)


@pytest.mark.parametrize("by", ["the list", "its key", "recovery"])
def test_jobs_with_damaged_record_are_set_aside(service: JobService, upload: Source, by: str) -> None:
    damages = ANY_FILE | ONLY_SPEC
    jobs = {how: service.accept(JOB_SPEC, upload, how)[0] for how in damages}
    other, _ = service.accept(JOB_SPEC, upload, None)
    for how, job in jobs.items():
        damages[how](job.path / "job.json")
    if by == "its key":
        for how, job in jobs.items():
            assert (how, service.accept(JOB_SPEC, upload, how)[1]) == (how, True)  # the key is free again
            with service.folder.job(job.id).locked():  # type: ignore[union-attr]
                service.folder.job(job.id).remove()  # type: ignore[union-attr]
    elif by == "recovery":
        worker(service).recover()
        Reconciler(service.folder).run()
    check_other_jobs(service, other)
    for job in jobs.values():
        with pytest.raises(JobNotFound):
            service.find(job.id)
    count = JobStats(service.folder).count()
    assert (count.damaged["job"], count.states["queued"]) == (len(damages), 1)
    for aside in damaged.folder(service.folder.path.parent).iterdir():
        assert (aside / "source").read_bytes() == b"0123456789"


@pytest.mark.parametrize("how", ["empty folder", "a file", "a dangling link", "closed"])
def test_stray_entries_are_set_aside(service: JobService, upload: Source, how: str) -> None:
    other, _ = service.accept(JOB_SPEC, upload, None)
    path = service.folder.path / ("a" * 24)
    match how:
        case "empty folder":
            path.mkdir()
        case "a file":
            path.write_bytes(b"?")
        case "a dangling link":
            path.symlink_to("nowhere")
        case "closed":
            path.mkdir(mode=0)
    check_other_jobs(service, other)
    assert JobStats(service.folder).count().damaged["job"] == 1
    assert not [name for name in service.folder.names() if name == path.name and os.access(path, os.W_OK)]


def test_job_folder_replaced_by_a_file_is_set_aside(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    other, _ = service.accept(JOB_SPEC, upload, None)
    job.save(JobState(state="done", finished="2999-01-01T00:00:00.000Z"))
    replaced(job.path).write_bytes(b"no folder")
    check_other_jobs(service, other)
    count = JobStats(service.folder).count()
    assert (count.damaged["job"], count.states["done"]) == (1, 0)


@pytest.mark.parametrize("how", ["missing", "a folder", "a FIFO", "a link"])
def test_job_without_usable_lock_can_be_locked(service: JobService, upload: Source, how: str) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    lock = job.path / "lock"
    {"missing": lambda path: path.unlink(), **ANY_FILE}[how](lock)
    with job.locked() as mine, job.locked() as twice:
        assert (mine, twice) == (True, False)
    assert service.cancel_or_remove(job) == "cancelled"


def test_fields_of_a_newer_version_are_ignored(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    job.save(JobState(state="failed", finished="2026-01-01T00:00:00.000Z"))
    for name in ("job.json", "state.json"):
        altered(priority={"of": ["a", "newer"]}, version=2)(job.path / name)
    spec, state = service.read(job)
    assert (spec.name, state.state) == ("film.mp4", "failed")
    Reconciler(service.folder).run()
    assert damaged.count(job.data_dir)["job"] == 0


MESSAGES = (
    b"", b"\xff\xfe", b"[]", b"[" * 100_000, b"7",
    b'{"a": 1}', b'["a", "analyse", null, []]', b'["a", "b", "never", ["c"]]',
    b'["a", "b", null, [["c"]]]',
)  # fmt: skip


def test_damaged_queue_messages_are_skipped(service: JobService, upload: Source) -> None:
    for message in MESSAGES:
        service.queue.huey.storage.enqueue(message)
        service.queue.huey.storage.add_to_schedule(message, datetime(2020, 1, 1))
    job, _ = service.accept(JOB_SPEC, upload, None)
    assert service.queue.waiting() == [job.id]
    assert service.queue_position(job.id) == 1
    done = list[str]()
    service.queue.set_handler(done.append)
    assert len(service.queue.huey.read_schedule()) == len(MESSAGES)
    while (task := service.queue.huey.dequeue()) is not None:
        service.queue.huey.execute(task)
    assert done == [*[""] * len(MESSAGES), job.id]


@pytest.mark.parametrize("how", [name for name in ANY_FILE if name not in ("NaN",)])
def test_damaged_journal_keeps_whole_records_only(tmp_path: Path, how: str) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, {"version": "1"}, 2)
    for index in range(3):
        journal.append_window(index, False, np.float32([0, 1]))
    journal.close()
    ANY_FILE[how](path)
    if how != "cut off":
        with pytest.raises((DamagedFile, FileNotFoundError)):
            read(path)
    journal = Journal(path, {"version": "1"}, 2)
    kept = len(journal.contents.scores)
    assert kept == (2 if how == "cut off" else 0)
    journal.append_window(kept, False, np.float32([0, 1]))
    journal.close()
    assert len(read(path).scores) == kept + 1


def test_record_fields_of_wrong_type_are_refused() -> None:
    with pytest.raises(DamagedFile, match="windows is '12'"):
        parse(JobState, json.dumps(dataclasses.asdict(JobState()) | {"windows": "12"}).encode())
    assert parse(JobState, b"{}") == JobState()
