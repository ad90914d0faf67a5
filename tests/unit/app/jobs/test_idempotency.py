"""Idempotency keys: one job for a key, also for requests at the same moment."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import pytest

from app.errors import IdempotencyConflict
from app.jobs.service import JobService
from app.media.types import Source
from tests.unit.app.jobs.records import JOB_SPEC


def test_key_with_other_bytes_is_a_conflict(service: JobService, upload: Source, tmp_path: Path) -> None:
    first, _ = service.accept(JOB_SPEC, upload, "a key")
    (tmp_path / "other").write_bytes(b"9876543210")
    with pytest.raises(IdempotencyConflict):
        service.accept(JOB_SPEC, Source(str(tmp_path / "other"), 0, 10), "a key")
    again, new = service.accept(JOB_SPEC, upload, "a key")
    assert (again.id, new) == (first.id, False)


def test_idempotency_key_without_hash_compares_the_file(service: JobService, upload: Source, tmp_path: Path) -> None:
    job, _ = service.accept(JOB_SPEC, upload, "a key")
    body = json.loads((job.path / "job.json").read_text())
    del body["sha256"]
    (job.path / "job.json").write_text(json.dumps(body))
    assert service.accept(JOB_SPEC, upload, "a key")[0].id == job.id
    (tmp_path / "other").write_bytes(b"9876543210")
    with pytest.raises(IdempotencyConflict):
        service.accept(JOB_SPEC, Source(str(tmp_path / "other"), 0, 10), "a key")


def test_concurrent_requests_with_a_key_make_one_job(service: JobService, upload: Source) -> None:
    answers, start = list[tuple[str, bool]](), threading.Barrier(8)

    def client() -> None:
        start.wait()
        job, new = service.accept(JOB_SPEC, upload, "a key")
        answers.append((job.id, new))

    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert len({job_id for job_id, _ in answers}) == 1 and len(answers) == 8
    assert sum(new for _, new in answers) == 1
    assert service.folder.index.counts()["queued"] == 1


def test_same_key_returns_the_same_job(service: JobService, upload: Source) -> None:
    first, new = service.accept(JOB_SPEC, upload, "a key")
    again, new_again = service.accept(JOB_SPEC, upload, "a key")
    other, _ = service.accept(JOB_SPEC, upload, "another key")
    assert (first.id, new, new_again) == (again.id, True, False)
    assert other.id != first.id
    with pytest.raises(IdempotencyConflict):
        service.accept(dataclasses.replace(JOB_SPEC, margin=0.9), upload, "a key")


def test_each_owner_has_jobs_and_idempotency_keys_of_its_own(service: JobService, upload: Source) -> None:
    alices, bobs = (dataclasses.replace(JOB_SPEC, owner=owner) for owner in ("alice", "bob"))
    first, _ = service.accept(alices, upload, "monday")
    second, new = service.accept(bobs, upload, "monday")
    assert new and first.id != second.id
    assert service.accept(bobs, upload, "monday")[0].id == second.id
    assert [spec.owner for spec, _ in service.newest(9, "bob")] == ["bob"]
