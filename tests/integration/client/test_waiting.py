"""Waits of the client: for a busy service, for one that restarts, for files that still grow."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipstack_client import Client, ConnectFailed, ServiceUnavailable, ServiceUnreachable
from tests.support.client_jobs import Events
from tests.support.client_process import Running
from tests.support.client_service import MP4, RecordedService, Reply, refusal


@pytest.fixture
def client(service: RecordedService) -> Iterator[Client]:
    with Client(service.url, timeout=5.0, patience=3.0) as client:
        yield client


def test_busy_service_gets_the_whole_body_again(client: Client, service: RecordedService) -> None:
    service.replies = [refusal(503, "overloaded", ("Retry-After", "0"))] * 2
    stages: list[str] = []
    result = client.classify(MP4, progress=lambda progress: stages.append(progress.stage))
    assert result.model == "camera_motion"
    assert [request.body for request in service.received] == [MP4] * 3
    assert stages.count("waiting") == 2


def test_retry_waits_as_long_as_retry_after(client: Client, service: RecordedService) -> None:
    service.replies = [refusal(503, "overloaded", ("Retry-After", "1"))]
    start = time.monotonic()
    client.classify(MP4)
    assert time.monotonic() - start >= 1.0


def test_patience_bounds_all_retries_together(service: RecordedService) -> None:
    service.replies = [refusal(503, "overloaded", ("Retry-After", "0"))] * 100
    start = time.monotonic()
    with Client(service.url, patience=1.0) as client, pytest.raises(ServiceUnavailable):
        client.models()
    assert time.monotonic() - start < 3
    assert 2 <= len(service.received) <= 4


def test_refused_connection_is_tried_three_times(unused_url: str) -> None:
    waits: list[str] = []
    with Client(unused_url) as client, pytest.raises(ConnectFailed, match="refused"):
        client.classify(MP4, progress=lambda progress: waits.append(progress.stage))
    assert waits == ["waiting"] * 2


@pytest.mark.parametrize("events", ["whole", "torn"])
def test_broken_event_streams_are_reopened(client: Client, service: RecordedService, events: Events) -> None:
    service.jobs.events = events
    seen = list(client.follow(client.submit(MP4).id))
    assert [job.progress.percent for job in seen] == [20, 45, 70, 100]
    assert seen[-1].state == "done"
    assert service.jobs.streams == (1 if events == "whole" else 4)


@pytest.mark.parametrize("events", ["silent", "refused", "gone"])
def test_job_is_polled_without_events(client: Client, service: RecordedService, events: Events) -> None:
    service.jobs.events = events
    id = client.submit(MP4).id
    assert list(client.follow(id))[-1].state == "done"
    paths = [request.path.rpartition("/")[2] for request in service.received]
    assert paths[:4] == ["jobs", "events", "events", id]


def test_restarting_service_is_waited_for(client: Client, service: RecordedService) -> None:
    id = client.submit(MP4).id
    service.replies = [refusal(502, "unavailable")]
    assert list(client.follow(id))[-1].state == "done"


def test_unreachable_service_raises_after_patience(service: RecordedService) -> None:
    with Client(service.url, timeout=5.0, patience=0.2) as client:
        id = client.submit(MP4).id
        service.replies = [Reply(body=None)] * 50
        with pytest.raises(ServiceUnreachable):
            list(client.follow(id))


@pytest.mark.usefixtures("interruptible")
def test_watch_waits_for_complete_files_and_the_service(service: RecordedService, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "seen.jsonl"
    films.mkdir()
    for name in ("a.mp4", "b.mkv"):
        (films / name).write_bytes(MP4)
    service.replies = [Reply(body=None)]
    running = Running(service, "watch", films, "-o", out, "--every", "0.05", "--settle", "1", "--patience", "0")
    running.until(lambda: out.exists() and len(out.read_text().splitlines()) == 2)
    with (films / "growing.mp4").open("wb") as file:
        for _ in range(10):
            file.write(MP4)
            file.flush()
            time.sleep(0.1)  # longer than the poll interval, shorter than the settle time
    running.until(lambda: len(out.read_text().splitlines()) == 3)
    assert running.end(signal.SIGINT)[0] == 130
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["size"] for line in lines] == [len(MP4), len(MP4), 10 * len(MP4)]
    assert not any("error" in line for line in lines)
