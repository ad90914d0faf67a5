"""Follow a job to its end: by server-sent events, or by polling if no events arrive."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Protocol, TypeAlias

import anyio

from .errors import (
    ClipstackError,
    ConnectFailed,
    JobFailed,
    RequestRefused,
    ServiceUnavailable,
    ServiceUnreachable,
)
from .http.response import Response, error_from
from .http.transport import Transport
from .jobs import Job
from .parsing import parse_job

JobWatcher: TypeAlias = Callable[[Job], None]

RECONNECT_S = 0.5
POLL_S = 1.0
# The service sends data every second; a proxy that buffers events sends nothing.
SILENCE_S = 10.0
# Consecutive streams without an event before the client polls instead
MAX_SILENT_STREAMS = 2
CANCEL_S = 3.0


class JobCalls(Protocol):
    """Calls of the client about one job."""

    async def job(self, id: str, /) -> Job:
        """Return a job."""

    async def cancel(self, id: str, /) -> object:
        """Cancel a job."""

    def follow(self, id: str, /) -> AsyncIterator[Job]:
        """Yield a job each time that it changes, until it has ended."""


async def follow(transport: Transport, client: JobCalls, path: str, patience_s: float) -> AsyncGenerator[Job, None]:
    """Yield the record at `path` each time it arrives, up to the first one of a job that has ended.

    Broken connections and restarts of the service are tolerated for `patience_s` seconds without a record.
    """
    silent_streams, last_record_at = 0, time.monotonic()
    id = path.rpartition("/")[2]
    while True:
        received = False
        try:
            if silent_streams < MAX_SILENT_STREAMS:
                async with aclosing(_stream(transport, f"{path}/events")) as records:
                    async for job in records:
                        received, last_record_at = True, time.monotonic()
                        yield job
                        if job.ended:
                            return
            else:
                job, last_record_at = await client.job(id), time.monotonic()
                yield job
                if job.ended:
                    return
        except (ServiceUnavailable, ServiceUnreachable) as error:
            if time.monotonic() - last_record_at > patience_s:
                raise
            received = isinstance(error, ConnectFailed)  # a restarting service says nothing about whether streams work
        if silent_streams < MAX_SILENT_STREAMS:
            silent_streams = 0 if received else silent_streams + 1
        await asyncio.sleep(RECONNECT_S if silent_streams < MAX_SILENT_STREAMS else POLL_S)


async def _stream(transport: Transport, path: str) -> AsyncGenerator[Job, None]:
    async with transport.events(path, SILENCE_S) as events:
        if isinstance(events, Response):
            error = error_from(events, transport.url)
            if isinstance(error, RequestRefused | ServiceUnavailable):
                raise error
            return  # not an event stream, but the job may be fine
        async for event in events:
            if event.name in ("progress", "end"):
                try:
                    job = parse_job(json.loads(event.data))
                except (KeyError, TypeError, ValueError, AttributeError):
                    return
                yield job


async def wait_for_job(client: JobCalls, job: Job, watch: JobWatcher | None) -> Job:
    """Follow `job` until it is done and return it; cancelling this call cancels the job.

    Raise JobFailed if the job failed or was cancelled.
    """
    if watch is not None:
        watch(job)
    try:
        async for record in client.follow(job.id):
            job = record
            if watch is not None:
                watch(job)
    except asyncio.CancelledError:
        await cancel_abandoned(client, job.id)
        raise
    if job.state != "done":
        raise failed_job_error(job)
    return job


async def cancel_abandoned(client: JobCalls, id: str) -> None:
    """Cancel an abandoned job; give up after `CANCEL_S` seconds."""
    with suppress(ClipstackError), anyio.move_on_after(CANCEL_S, shield=True):
        await client.cancel(id)


def failed_job_error(job: Job) -> JobFailed:
    """Return the error of a job that ended without being done."""
    code, message = job.error or (job.state, "the job was cancelled")
    return JobFailed(message, code=code, job_id=job.id)
