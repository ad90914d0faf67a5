"""Limits of kept jobs: places in the queue, bytes on disk, and what each owner may hold."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import Counter

import pytest

from app.errors import Overloaded, StorageFull, TooManyRequests
from app.jobs.service import JobService
from app.jobs.storage.index import ADDING, Row
from app.jobs.storage.new_job import remove_leftovers
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.store import now
from app.media.types import Source
from app.settings import Settings
from tests.unit.app.jobs.records import JOB_SPEC, MAX_JOBS, finish, running_service


def test_concurrent_clients_cannot_exceed_the_queue(service: JobService, upload: Source) -> None:
    answers, start = Counter[str](), threading.Barrier(24)

    def client() -> None:
        start.wait()
        for _ in range(3):
            try:
                service.accept(JOB_SPEC, upload, None)
                answers["accepted"] += 1
            except Overloaded:
                answers["refused"] += 1

    clients = [threading.Thread(target=client) for _ in range(24)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert answers == {"accepted": MAX_JOBS, "refused": 72 - MAX_JOBS}
    assert len(service.folder.names()) == MAX_JOBS


def test_owner_may_use_half_of_the_queue(service: JobService, upload: Source) -> None:
    greedy = dataclasses.replace(JOB_SPEC, owner="greedy")
    for _ in range(MAX_JOBS // 2):
        service.accept(greedy, upload, None)
    with pytest.raises(TooManyRequests):
        service.accept(greedy, upload, None)
    finish(next(service.folder.jobs()))
    service.accept(greedy, upload, None)


def test_failed_submission_frees_its_place(service: JobService, upload: Source) -> None:
    for _ in range(MAX_JOBS + 1):
        with pytest.raises(FileNotFoundError):
            service.accept(JOB_SPEC, Source("/nowhere", 0, 10), None)
    assert sum(service.folder.index.counts().values()) == 0
    assert not any(service.folder.path.iterdir())
    assert service.accept(JOB_SPEC, upload, None)[1]


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
        new.write(dataclasses.replace(JOB_SPEC, id="a" * 24, created=now()), upload)
        (hidden,) = service.folder.path.iterdir()
        left = hidden.with_name(".new-left")
        left.mkdir()
        os.utime(hidden, (0, 0))
        remove_leftovers(service.folder.path)
        assert hidden.exists() and left.exists()  # both are new: a ctime cannot be set, and the lock is held
        assert new.publish()


def test_disk_usage_counts_whole_blocks(service: JobService, upload: Source) -> None:
    for _ in range(MAX_JOBS):
        service.accept(JOB_SPEC, upload, None)
    on_disk = sum(
        path.lstat().st_blocks * 512 for path in [*service.folder.path.glob("*"), *service.folder.path.rglob("*/*")]
    )
    assert service.folder.index.bytes() == on_disk > MAX_JOBS * 4096


def test_full_disk_quota_removes_the_oldest_or_refuses(settings: Settings, upload: Source) -> None:
    with running_service(dataclasses.replace(settings, job_gb=1)) as service:
        first, second = (finish(service.accept(JOB_SPEC, upload, None)[0]) for _ in range(2))
        row = next(row for row in service.folder.index.newest(9) if row.id == first.id)
        service.folder.index.put(row._replace(bytes=(1 << 30) - 40_000, since=1.0))
        service.accept(JOB_SPEC, upload, None)
        assert not first.path.exists() and second.path.exists()
        with pytest.raises(StorageFull):
            service.accept(dataclasses.replace(JOB_SPEC, bytes=1 << 30), upload, None)
        assert second.path.exists()  # removing it would not make enough room
