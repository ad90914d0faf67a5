"""Events of jobs: each is recorded once, in order, and none is lost between the record and the outbox."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from app.errors import Unavailable
from app.jobs.service import JobService
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.records import JobState
from app.jobs.storage.store import Job, JobStore
from app.jobs.webhooks.events import messages, record_events
from app.jobs.webhooks.outbox import Outbox
from app.media.types import Source
from tests.unit.app.jobs.records import TIME, WEBHOOK_SPEC, listed, run


def kill_before_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every save end after state.json is written, like a SIGKILL there."""
    monkeypatch.setattr(Outbox, "add", lambda *_: (_ for _ in ()).throw(SystemExit))


def test_each_event_is_recorded_once_in_order() -> None:
    state = JobState("running", started=TIME)
    for percent in (0.0, 10.0, 26.0, 30.0, 80.0, 99.0, 100.0):
        state.percent = percent
        record_events(state, TIME)
    state.state = "done"
    record_events(state, TIME)
    record_events(state, TIME)
    assert [(event["type"], event["percent"]) for event in state.events] == [
        ("job.started", 0.0),
        ("job.progress", 25.0),
        ("job.progress", 75.0),
        ("job.done", 100.0),
    ]


def test_restarted_job_repeats_no_event() -> None:
    state = JobState("running", started=TIME, percent=60.0)
    record_events(state, TIME)
    state.percent = 0.0
    record_events(state, TIME)
    state.percent = 55.0
    record_events(state, TIME)
    assert [event["percent"] for event in state.events] == [0.0, 50.0]


def test_cancelled_before_start_has_one_event(service: JobService, job: Job, outbox: Outbox) -> None:
    service.cancel_or_remove(job)
    assert listed(outbox) == [("job.cancelled", "pending")]


def test_saved_events_are_in_the_outbox(job: Job, outbox: Outbox) -> None:
    run(job, 50.0)
    assert listed(outbox) == [("job.started", "pending"), ("job.progress", "pending"), ("job.done", "pending")]


def test_payload_names_the_job_and_its_error(job: Job, outbox: Outbox) -> None:
    state = job.state()
    state.error = {"code": "undecodable", "message": "the file is damaged"}
    job.save(state)
    run(job, end="failed")
    body = json.loads(outbox.newest(1, None, None)[0].body)
    assert body["type"] == "job.failed"
    assert body["data"] | {"links": None} == {
        "id": job.id,
        "state": "failed",
        "percent": 0.0,
        "name": "film.mp4",
        "model": "camera_motion",
        "created": job.spec().created,
        "error": state.error,
        "links": None,
    }


def test_jobs_without_webhook_have_no_events(service: JobService, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(b"0123456789")
    spec = dataclasses.replace(WEBHOOK_SPEC, callback_url="")
    job, _ = service.accept(spec, Source(str(tmp_path / "upload"), 0, 10), None)
    assert run(job).events == []
    assert not service.folder.outbox.exists


def test_kill_after_the_record_loses_no_event(job: Job, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    run(job, end="")
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        kill_before_index(patch)
        run(job)
    assert listed(outbox) == [("job.started", "pending")]
    Reconciler(JobStore(job.path.parent)).run()
    assert listed(outbox) == [("job.started", "pending"), ("job.done", "pending")]


def test_removal_after_kill_loses_no_event(service: JobService, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run(job, end="")
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        kill_before_index(patch)
        run(job)
    assert service.cancel_or_remove(service.find(job.id)) == "removed"
    assert ("job.done", "pending") in listed(service.folder.outbox)


def test_busy_outbox_delays_the_index(service: JobService, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run(job, end="")
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "add", lambda *_: (_ for _ in ()).throw(Unavailable("busy")))
        run(job)
    assert service.folder.index.state(job.id) == "running"
    Reconciler(service.folder).run()
    assert service.folder.index.state(job.id) == "done"
    assert ("job.done", "pending") in listed(service.folder.outbox)


def test_event_ids_depend_on_the_creation_time() -> None:
    state = JobState("running", started=TIME)
    record_events(state, TIME)
    specs = [
        dataclasses.replace(WEBHOOK_SPEC, id="a" * 24, created=created) for created in (TIME, TIME, "2027" + TIME[4:])
    ]
    ids = [messages(spec, state)[0].id for spec in specs]
    assert ids[0] == ids[1] != ids[2]
    assert all(len(id) == 36 and "." not in id for id in ids)
