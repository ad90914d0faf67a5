"""Events of jobs: none is lost between the record and the outbox, their order, ids, schedule, signatures and hosts."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from app.errors import Unavailable
from app.jobs.service import JobService
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import Job, JobStore
from app.jobs.webhooks import outbox as outboxes
from app.jobs.webhooks import signing
from app.jobs.webhooks.events import messages, new_test_message, record_events
from app.jobs.webhooks.hosts import AllowedHosts, RefusedUrl
from app.jobs.webhooks.outbox import Delivery, Outbox
from app.jobs.webhooks.schedule import DELAYS_S, MAX_ATTEMPTS, MAX_DELAY_S, SPAN_S, next_delay_s
from app.media.types import Source
from app.settings import InvalidSetting, Settings

URL = "https://hooks.example.com/clipstack"
SPEC = JobSpec("", "", "film.mp4", 10, "camera_motion", None, None, 0.5, 5, callback_url=URL)
TIME = "2026-05-04T10:00:00.000Z"
ENTRIES = "hooks.example.com,*.example.org,ports.example.com:8443,http://127.0.0.1:9000!private"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    service = JobService(dataclasses.replace(Settings.from_environment({}), data_dir=tmp_path / "data"))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def outbox(service: JobService) -> Outbox:
    return service.folder.outbox


@pytest.fixture
def job(service: JobService, tmp_path: Path) -> Job:
    (tmp_path / "upload").write_bytes(b"0123456789")
    return service.accept(SPEC, Source(str(tmp_path / "upload"), 0, 10), None)[0]


def run(job: Job, *percents: float, end: str = "done") -> JobState:
    """Save the states of a job that runs to its end."""
    state = job.state()
    state.state, state.started = "running", state.started or TIME
    for percent in (0.0, *percents):
        state.percent = percent
        job.save(state)
    if end:
        state.state, state.finished = end, TIME  # type: ignore[assignment]
        job.save(state, durable=True)
    return state


def listed(outbox: Outbox) -> list[tuple[str, str]]:
    return [(event.type, event.state) for event in sorted(outbox.newest(100, None, None), key=lambda row: row.number)]


def due(outbox: Outbox) -> list[Delivery]:
    return outbox.due(time.time() + 1, 10)


def kill_before_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a save dies after state.json, as by SIGKILL."""
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


def test_job_that_begins_anew_repeats_no_event() -> None:
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
        "id": job.id, "state": "failed", "percent": 0.0, "name": "film.mp4", "model": "camera_motion",
        "created": job.spec().created, "error": state.error, "links": None,
    }  # fmt: skip


def test_jobs_without_receiver_have_no_events(service: JobService, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(b"0123456789")
    spec = dataclasses.replace(SPEC, callback_url="")
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


def test_removed_job_s_old_events_stay_removed(service: JobService, job: Job, outbox: Outbox) -> None:
    run(job)
    for _ in range(2):
        for event in due(outbox):
            outbox.record_success(event, 200)
    outbox.prune(time.time() + 1)
    assert service.cancel_or_remove(job) == "removed"
    assert listed(outbox) == []


def test_busy_outbox_delays_the_index(service: JobService, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run(job, end="")
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "add", lambda *_: (_ for _ in ()).throw(Unavailable("busy")))
        run(job)
    assert service.folder.index.state(job.id) == "running"
    Reconciler(service.folder).run()
    assert service.folder.index.state(job.id) == "done"
    assert ("job.done", "pending") in listed(service.folder.outbox)


def test_events_of_a_job_are_due_in_order(job: Job, outbox: Outbox) -> None:
    run(job, 50.0)
    for kind in ("job.started", "job.progress", "job.done"):
        (event,) = due(outbox)
        assert event.type == kind
        outbox.record_success(event, 204)
    assert due(outbox) == []


def test_failed_event_waits_and_then_dies(job: Job, outbox: Outbox) -> None:
    run(job)
    (event,) = due(outbox)
    outbox.record_failure(event, 500, "the receiver answered 500", 60.0)
    assert due(outbox) == []
    (event,) = outbox.due(time.time() + 61, 10)
    assert (event.attempts, event.status, event.type) == (1, 500, "job.started")
    outbox.record_failure(event, None, "no answer", None)
    assert listed(outbox) == [("job.started", "dead"), ("job.done", "pending")]
    assert [event.type for event in due(outbox)] == ["job.done"]


def test_receiver_that_is_gone_gets_nothing_more(job: Job, outbox: Outbox) -> None:
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


def test_one_host_takes_no_other_s_places(outbox: Outbox) -> None:
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
        event["time"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())  # only late events are sent again
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


def test_ids_differ_for_jobs_of_the_same_id() -> None:
    state = JobState("running", started=TIME)
    record_events(state, TIME)
    specs = [dataclasses.replace(SPEC, id="a" * 24, created=created) for created in (TIME, TIME, "2027" + TIME[4:])]
    ids = [messages(spec, state)[0].id for spec in specs]
    assert ids[0] == ids[1] != ids[2]
    assert all(len(id) == 36 and "." not in id for id in ids)


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


def test_signatures_are_verified_by_the_standard_library(tmp_path: Path) -> None:
    old, new = (signing.encode(bytes([number]) * 32) for number in (1, 2))
    (tmp_path / "secret").write_text(f"{new}\n{old}\n")
    secrets = signing.read(tmp_path / "secret")
    headers = signing.signature_headers(secrets, "", "msg_1", '{"type":"job.done"}')
    for secret in (old, new):
        assert Webhook(secret).verify('{"type":"job.done"}', headers) == {"type": "job.done"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify('{"type":"job.failed"}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.encode(bytes(32))).verify('{"type":"job.done"}', headers)


def test_no_key_can_sign_for_another(tmp_path: Path) -> None:
    signing.create(tmp_path / "webhooks" / "secret")
    secrets = signing.read(tmp_path / "webhooks" / "secret")
    alice, bob = (signing.of_owner(secrets[0], owner) for owner in ("alice", "bob"))
    assert len({alice, bob, secrets[0]}) == 3
    headers = signing.signature_headers(secrets, "alice", "msg_1", "{}")
    Webhook(alice).verify("{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(bob).verify("{}", headers)


def test_secret_is_created_once_for_this_user(tmp_path: Path) -> None:
    path = tmp_path / "webhooks" / "secret"
    signing.create(path)
    before = path.read_text()
    signing.create(path)
    assert path.read_text() == before and before.startswith("whsec_")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "\xff", "whsec_a\n" * 4])
def test_malformed_secrets_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_bytes(content.encode("latin-1"))
    with pytest.raises(signing.InvalidSecret):
        signing.read(tmp_path / "secret")


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://HOOKS.example.com:443/x?token=1",
        "https://a.example.org/",
        "https://a.b.example.org/",
        "https://ports.example.com:8443/",
        "http://127.0.0.1:9000/hook",
    ],
)
def test_listed_receivers_are_allowed(url: str) -> None:
    AllowedHosts(ENTRIES).check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/", "https://example.org/", "https://hooks.example.com:8443/",
        "https://ports.example.com/", "https://127.0.0.1:9000/", "http://127.0.0.1/", "https://evilexample.org/",
        "https://hooks.example.com@evil.com/", "https://evil.com/#@hooks.example.com", "s3://hooks.example.com/key", "https://hooks.example.com\\@evil.com",
        "ftp://hooks.example.com/", "hooks.example.com", "https://", "https://[::1", "https://hooks.example.com:99999/",
        "https://hooks.example.com/a b", "https://h\u00f6oks.example.com/", "https://hooks.example.com/" + "a" * 2048,
        "https://hooks.example.com/\n", "https://hooks.example.com.evil.com/",
    ],
)  # fmt: skip
def test_other_receivers_are_refused(url: str) -> None:
    with pytest.raises(RefusedUrl):
        AllowedHosts(ENTRIES).check(url)


def test_webhooks_are_off_by_default() -> None:
    with pytest.raises(RefusedUrl, match="CLIPSTACK_WEBHOOKS"):
        AllowedHosts(Settings.from_environment({}).webhooks).check(URL)


@pytest.mark.parametrize("text", ["https://a.com/x", "ftp://a.com", "a b", "s3://bucket/folder", "http://"])
def test_wrong_receivers_in_the_setting_are_named(text: str) -> None:
    with pytest.raises(InvalidSetting, match="CLIPSTACK_WEBHOOKS"):
        Settings.from_environment({"CLIPSTACK_WEBHOOKS": text})


@pytest.mark.parametrize(
    ("address", "private", "public"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("127.0.0.1", True, False),
        ("10.1.2.3", True, False),
        ("::1", True, False),
        ("fd00::1", True, False),
        ("::ffff:10.0.0.1", True, False),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("224.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("2002:a9fe:a9fe::1", False, False),
        ("64:ff9b::808:808", True, True),
        ("64:ff9b::7f00:1", False, False),
        ("3fff::1", False, False),
    ],
)
def test_addresses_of_receivers_are_checked(address: str, private: bool, public: bool) -> None:
    for entry, expected in (("hooks.example.com!private", private), ("hooks.example.com", public)):
        hosts = AllowedHosts(entry)
        assert bool(hosts.allowed(hosts.check(URL), [ip_address(address)])) is expected
