"""Jobs of the client: followed over bad connections, cancelled, and the same in the blocking and the async client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clipstack_client import AsyncClient, Client, JobFailed, RequestRefused
from clipstack_client.async_client import AsyncClient as Core
from clipstack_client.http.sse import Event, parse_events
from clipstack_client.jobs import Job
from clipstack_client.loop_thread import LoopThread
from tests.support.client_jobs import BROKEN
from tests.support.client_service import MP4, RecordedService, Reply


@pytest.fixture
def client(service: RecordedService) -> Iterator[Client]:
    with Client(service.url, timeout=5.0, patience=3.0) as client:
        yield client


def paths(service: RecordedService) -> list[str]:
    return [request.path.rpartition("/")[2] for request in service.received]


def test_following_may_stop_early(client: Client, service: RecordedService) -> None:
    service.jobs.held = True
    records = client.follow(client.submit(MP4).id)
    assert next(records).state == "running"
    records.close()  # type: ignore[attr-defined]
    assert client.models()


def test_upload_after_a_lost_answer_makes_no_second_job(client: Client, service: RecordedService) -> None:
    service.replies = [Reply(body=None)]
    client.submit(MP4)
    first, second = (request.headers["idempotency-key"] for request in service.received)
    assert first == second


def test_results_folder_is_sent_to_the_service(client: Client, service: RecordedService) -> None:
    client.submit(MP4, results="s3://films/results")
    client.timeline(MP4)
    assert [request.query.get("results") for request in service.received if request.method == "POST"] == [
        "s3://films/results",
        None,
    ]


def test_failed_job_says_who_is_at_fault(client: Client) -> None:
    with pytest.raises(JobFailed) as failed:
        client.timeline(MP4 + BROKEN)
    assert (failed.value.code, failed.value.at_fault, bool(failed.value.job_id)) == ("undecodable", "file", True)
    assert JobFailed("", code="inference_failed", job_id="1").at_fault == "service"


def test_running_job_is_cancelled_and_then_removed(client: Client, service: RecordedService) -> None:
    service.jobs.held = True
    id = client.submit(MP4).id
    assert client.cancel(id).state == "cancelled"
    client.remove(id)
    with pytest.raises(RequestRefused):
        client.job(id)


def test_job_cancelled_by_another_client_raises(client: Client, service: RecordedService) -> None:
    service.jobs.held = True

    def cancel_once_running(job: Job) -> None:
        if job.state == "running":
            service.jobs.delete(job.id)

    with pytest.raises(JobFailed) as failed:
        client.timeline(MP4, watch=cancel_once_running)
    assert (failed.value.code, failed.value.at_fault) == ("cancelled", "nobody")


def test_cancelled_wait_cancels_the_job(service: RecordedService) -> None:
    service.jobs.held = True
    running = threading.Event()

    async def wait() -> None:
        async with AsyncClient(service.url) as client:
            task = asyncio.create_task(
                client.timeline(MP4, watch=lambda job: running.set() if job.state == "running" else None)
            )
            while not running.is_set():
                await asyncio.sleep(0.01)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(wait())
    assert [record["state"] for record in service.jobs.records(5)] == ["cancelled"]


def test_windows_of_a_job_are_read(client: Client) -> None:
    timeline = client.job(client.timeline(MP4).id, windows=True).timeline
    assert timeline is not None
    assert (len(timeline.windows), timeline.windows[-1].padded, timeline.windows[0].predictions[0].label) == (
        37,
        True,
        "static",
    )


def test_closed_client_refuses_requests(service: RecordedService) -> None:
    client = Client(service.url)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.models()


def test_closing_ends_waits_of_other_threads(service: RecordedService) -> None:
    service.jobs.held = True
    client = Client(service.url)
    ended: list[BaseException] = []

    def wait(id: str) -> None:
        try:
            list(client.follow(id))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=wait, args=(client.submit(MP4).id,))
    thread.start()
    deadline = time.monotonic() + 5
    while not service.jobs.streams and time.monotonic() < deadline:
        time.sleep(0.01)
    client.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(ended) == 1


def test_both_clients_have_the_same_methods_and_docstrings() -> None:
    public = {name for name in vars(Core) if not name.startswith("_")} - {"close"}
    for name in public - {"url"}:
        assert getattr(Client, name).__doc__ == getattr(Core, name).__doc__
    assert public <= set(vars(Client))


def test_error_in_the_loop_thread_reaches_the_caller() -> None:
    async def fail() -> None:
        raise KeyError("inside")

    thread = LoopThread()
    with pytest.raises(KeyError, match="inside"):
        thread.run(fail())
    thread.close()


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        (["event: progress", "data: {}", ""], [Event("progress", "{}")]),
        (["data: a", "data: b", ""], [Event("message", "a\nb")]),
        ([": heartbeat", "", "event: end", ""], []),
        (["data:x", "id: 7", "", "data: y", ""], [Event("message", "x"), Event("message", "y")]),
    ],
    ids=["named", "two lines", "no data", "other fields"],
)
def test_event_stream_is_parsed(lines: list[str], events: list[Event]) -> None:
    async def parse() -> list[Event]:
        return [event async for event in parse_events(stream())]

    async def stream() -> AsyncIterator[str]:
        for line in lines:
            yield line

    assert asyncio.run(parse()) == events


def test_timeline_cannot_be_reduced_to_frames(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all frames"):
        client.submit(MP4, reduce="frames")
