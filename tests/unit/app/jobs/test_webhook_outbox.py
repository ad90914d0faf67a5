"""The outbox of events: order, attempts, bounds and damage, and the schedule of attempts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.jobs.service import JobService
from app.jobs.storage.store import Job
from app.jobs.webhooks import outbox as outboxes
from app.jobs.webhooks.events import new_test_message
from app.jobs.webhooks.outbox import Outbox
from app.jobs.webhooks.schedule import DELAYS_S, MAX_ATTEMPTS, MAX_DELAY_S, SPAN_S, next_delay_s
from tests.unit.app.jobs.records import TIME, URL, due, listed, run


def test_pruned_events_are_not_recreated_on_removal(service: JobService, job: Job, outbox: Outbox) -> None:
    run(job)
    for _ in range(2):
        for event in due(outbox):
            outbox.record_success(event, 200)
    outbox.prune(time.time() + 1)
    assert service.cancel_or_remove(job) == "removed"
    assert listed(outbox) == []


def test_events_of_a_job_are_due_in_order(job: Job, outbox: Outbox) -> None:
    run(job, 50.0)
    for kind in ("job.started", "job.progress", "job.done"):
        (event,) = due(outbox)
        assert event.type == kind
        outbox.record_success(event, 204)
    assert due(outbox) == []


def test_failed_event_is_delayed_and_then_dead(job: Job, outbox: Outbox) -> None:
    run(job)
    (event,) = due(outbox)
    outbox.record_failure(event, 500, "the receiver answered 500", 60.0)
    assert due(outbox) == []
    (event,) = outbox.due(time.time() + 61, 10)
    assert (event.attempts, event.status, event.type) == (1, 500, "job.started")
    outbox.record_failure(event, None, "no answer", None)
    assert listed(outbox) == [("job.started", "dead"), ("job.done", "pending")]
    assert [event.type for event in due(outbox)] == ["job.done"]


def test_gone_receiver_gets_no_more_events(job: Job, outbox: Outbox) -> None:
    run(job)
    outbox.record_gone(due(outbox)[0], 410)
    assert listed(outbox) == [("job.started", "dead"), ("job.done", "dead")]


def test_dead_event_is_sent_again_on_request(job: Job, outbox: Outbox) -> None:
    run(job)
    (event,) = due(outbox)
    outbox.record_failure(event, 500, "no", None)
    outbox.retry(event.id)
    (again,) = due(outbox)
    assert (again.id, again.attempts, again.body) == (event.id, 0, event.body)


def test_clock_set_back_delays_no_event(job: Job, outbox: Outbox) -> None:
    run(job)
    (event,) = due(outbox)
    outbox.record_failure(event, 500, "no", 60.0)
    assert outbox.due(time.time() - 2 * MAX_DELAY_S, 10)


def test_slow_host_does_not_delay_others(outbox: Outbox) -> None:
    for number in range(20):
        outbox.add([new_test_message("", f"https://slow.example.com/{number}", TIME)])
    outbox.add([new_test_message("", URL, TIME)])
    hosts = [event.host for event in outbox.due(time.time() + 1, 4)]
    assert sorted(hosts) == ["hooks.example.com", *["slow.example.com"] * 4]


def test_events_of_another_owner_are_not_found(outbox: Outbox) -> None:
    message = new_test_message("alice", URL, TIME)
    outbox.add([message])
    assert outbox.find(message.id, "bob") is None
    assert outbox.newest(10, "bob", None) == []
    assert outbox.find(message.id, "alice") is not None and outbox.find(message.id, None) is not None


def test_kept_events_are_bounded(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MAX_PENDING", 5)
    monkeypatch.setattr(outboxes, "MAX_ENDED", 3)
    for number in range(10):
        outbox.add([new_test_message("", f"{URL}/{number}", TIME)])
    outbox.prune(0.0)
    assert outbox.counts() == {"pending": 5, "delivered": 0, "dead": 5}
    outbox.prune(0.0)
    assert outbox.counts()["dead"] == 3


def test_damaged_outbox_is_rebuilt_from_the_jobs(service: JobService, job: Job, outbox: Outbox, tmp_path: Path) -> None:
    state = run(job)
    for event in state.events:
        event["time"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())  # only recent events are sent again
    job.save(state)
    path = outbox._file.path
    service.folder.close()
    path.write_bytes(b"no database" * 1000)
    assert listed(outbox) == [("job.started", "pending"), ("job.done", "pending")]
    assert [path.name.partition("-")[0] for path in (tmp_path / "data" / "damaged").iterdir()] == ["webhooks"]


def test_outbox_survives_a_power_loss(outbox: Outbox) -> None:
    outbox.add([])
    synchronous = outbox._file.write(lambda connection: connection.execute("pragma synchronous").fetchone()[0])
    assert synchronous == 2  # FULL


def test_delays_follow_the_schedule_with_jitter() -> None:
    for attempts, delay_s in enumerate(DELAYS_S, 1):
        delays = [next_delay_s(attempts) for _ in range(50)]
        assert all(delay is not None and delay_s <= delay <= 1.2 * delay_s for delay in delays)
        assert len(set(delays)) > 1
    assert next_delay_s(MAX_ATTEMPTS) is None
    assert 3 * 86400 < sum(DELAYS_S) < SPAN_S


def test_receivers_may_ask_for_longer_delays() -> None:
    assert next_delay_s(1, 120.0) == 120.0
    assert next_delay_s(1, 1e9) == MAX_DELAY_S
    shorter = next_delay_s(2, 1.0)
    assert shorter is not None and shorter >= DELAYS_S[1]
