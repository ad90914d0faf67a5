"""Removal of old jobs: by age, count and size, and never by a clock that jumped."""

from __future__ import annotations

import dataclasses
from typing import cast

from app.jobs.clock import Clock
from app.jobs.service import JobService
from app.jobs.storage.retention import RetentionLimits, remove_expired
from app.jobs.storage.store import Job
from app.media.types import Source
from tests.unit.app.jobs.records import JOB_SPEC, finish

HOUR_S, DAY_S = 3600.0, 86400.0


def test_finished_jobs_of_an_owner_are_limited(service: JobService, upload: Source) -> None:
    mine = [
        finish(service.accept(dataclasses.replace(JOB_SPEC, owner="a"), upload, None)[0], _at(day)) for day in (3, 1, 2)
    ]
    others = finish(service.accept(dataclasses.replace(JOB_SPEC, owner="b"), upload, None)[0], _at(1))
    remove_expired(service.folder, RetentionLimits(7, 2, 1 << 40), Clock(service.folder.index, 7))
    assert [job.path.exists() for job in (*mine, others)] == [True, False, True, True]


def _at(day: int) -> str:
    return f"2999-01-0{day}T00:00:00.000Z"


def test_unfinished_job_is_never_removed(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    service.folder.index.set_state(job.id, "done", 0.0, 1)  # the index is wrong: the job is queued
    clock = Clock(service.folder.index, 7)
    clock.check(0.0, 0.0)
    remove_expired(service.folder, RetentionLimits(7, 0, 0), clock)
    assert job.path.exists()


def test_clock_jump_removes_nothing_for_a_day(service: JobService) -> None:
    clock = Clock(service.folder.index, 7)
    clock.check(0.0, 0.0)
    running = DAY_S + 1
    assert clock.check(running, running)  # a day after the start
    assert not clock.check(running + 30 * DAY_S, running + 20)
    restarted = Clock(service.folder.index, 7)  # reads the jump from the index
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


def test_untrusted_clock_removes_no_job(service: JobService, upload: Source) -> None:
    job = finish(service.accept(JOB_SPEC, upload, None)[0], "2020-01-01T00:00:00.000Z")
    clock = Clock(service.folder.index, 7)
    remove_expired(service.folder, RetentionLimits(7, 100, 1 << 40), clock)
    assert job.path.exists()


def accept_finished(service: JobService, upload: Source, run_at: str) -> Job:
    return finish(service.accept(JOB_SPEC, upload, None)[0], run_at)


class TrustedClock:
    """A clock that has never jumped."""

    def is_trusted(self) -> bool:
        return True


def test_expired_then_oldest_jobs_are_removed(service: JobService, upload: Source) -> None:
    old = accept_finished(service, upload, "2020-01-01T00:00:00.000Z")
    early = accept_finished(service, upload, "2999-01-01T00:00:00.000Z")
    late = accept_finished(service, upload, "2999-01-02T00:00:00.000Z")
    waiting, _ = service.accept(JOB_SPEC, upload, None)
    clock = cast(Clock, TrustedClock())
    remove_expired(service.folder, RetentionLimits(7, 100, 1 << 30), clock)
    assert [job.path.exists() for job in (old, early, late, waiting)] == [False, True, True, True]
    remove_expired(service.folder, RetentionLimits(7, 100, service.folder.index.bytes() - 1), clock)
    assert [job.path.exists() for job in (early, late, waiting)] == [False, True, True]
    remove_expired(service.folder, RetentionLimits(7, 100, 0), clock)
    assert [job.path.exists() for job in (late, waiting)] == [False, True]
