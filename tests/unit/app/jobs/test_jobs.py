"""Jobs on disk: accepted, queued, locked by one worker, cancelled and removed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from app.errors import IdempotencyConflict, JobNotFound, Overloaded, StorageFull, TooManyRequests
from app.jobs.service import JobService
from app.jobs.storage.records import JobState
from app.media.types import Source
from app.settings import Settings
from app.web.job_serializers import record_json
from tests.unit.app.jobs.records import JOB_SPEC


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, max_jobs=3)


def test_accepted_job_is_on_disk_and_queued(service: JobService, upload: Source) -> None:
    job, new = service.accept(JOB_SPEC, upload, None)
    Path(upload.path).unlink()
    assert new
    assert job.source.read_bytes() == b"0123456789"
    assert service.queue.waiting() == [job.id]
    spec, state = service.read(service.find(job.id))
    assert (spec.name, state.state) == ("film.mp4", "queued")
    assert record_json(spec, state, service.queue_position(job.id))["progress"]["position"] == 1


def test_only_the_file_part_of_a_form_is_kept(service: JobService, upload: Source) -> None:
    job, _ = service.accept(dataclasses.replace(JOB_SPEC, bytes=4), Source(upload.path, 3, 4), None)
    assert job.source.read_bytes() == b"3456"


def test_full_queue_and_full_disk_are_refused(service: JobService, upload: Source) -> None:
    with pytest.raises(StorageFull):
        service.accept(dataclasses.replace(JOB_SPEC, bytes=30 << 30), upload, None)
    for _ in range(3):
        service.accept(JOB_SPEC, upload, None)
    with pytest.raises(Overloaded):
        service.accept(JOB_SPEC, upload, None)


def test_one_job_has_one_worker(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    with job.locked() as mine, job.locked() as twice:
        assert (mine, twice) == (True, False)
    with job.locked() as mine:
        assert mine


def test_waiting_job_is_cancelled_at_once_and_then_removed(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    assert service.cancel_or_remove(job) == "cancelled"
    assert job.state().state == "cancelled"
    assert service.cancel_or_remove(job) == "removed"
    with pytest.raises(JobNotFound):
        service.find(job.id)
    with pytest.raises(JobNotFound):
        service.read(job)


@pytest.mark.parametrize("job_id", ["..", "../../etc", "x" * 24, "A" * 24, ""])
def test_invalid_ids_are_not_found(service: JobService, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        service.find(job_id)


def test_score_parameters_are_part_of_the_job(service: JobService, upload: Source) -> None:
    spec = dataclasses.replace(JOB_SPEC, min_score=0.5, labels=["pan_left"], exclude=[])
    job, _ = service.accept(spec, upload, "a key")
    with pytest.raises(IdempotencyConflict):
        service.accept(JOB_SPEC, upload, "a key")
    again, state = service.read(service.find(job.id))
    parameters = record_json(again, state)["parameters"]
    assert (parameters["min_score"], parameters["labels"], parameters["exclude"]) == (0.5, ["pan_left"], [])


def test_older_records_get_default_score_parameters(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    segments = [{"start_s": 0.0, "end_s": 1.0, "label": "a", "score": 0.9}]
    times = {"duration_s": 1.0, "complete_to_s": 1.0, "window_s": 1.0, "hop_s": 0.5, "margin": 0.5}
    job.save(JobState("done", timeline=times | {"labels": ["a"], "segments": segments, "cuts_s": [], "pictures_s": []}))
    old = json.loads((job.path / "job.json").read_bytes())
    for name in ("min_score", "labels", "exclude"):
        del old[name]
    (job.path / "job.json").write_text(json.dumps(old))
    spec, state = service.read(service.find(job.id))
    timeline = record_json(spec, state)["timeline"]
    assert (timeline["scores"], timeline["thresholds"], timeline["decision"]) == ("softmax", None, ["a"])
    assert spec.has_same_parameters(dataclasses.replace(JOB_SPEC, id=spec.id))


def test_greedy_owner_leaves_room_for_others(service: JobService, upload: Source) -> None:
    greedy = dataclasses.replace(JOB_SPEC, owner="greedy")
    for _ in range(2):
        service.accept(greedy, upload, None)
    with pytest.raises(TooManyRequests):
        service.accept(greedy, upload, None)
    service.accept(dataclasses.replace(JOB_SPEC, owner="modest"), upload, None)


def test_older_records_get_an_empty_owner(service: JobService, upload: Source) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    body = json.loads((job.path / "job.json").read_text())
    del body["owner"]
    (job.path / "job.json").write_text(json.dumps(body))
    assert service.read(job)[0].owner == ""
