"""Following of a job to its end: by server-sent events, or by polling where no events arrive."""

from __future__ import annotations

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
from .http.response import Response, error_of
from .http.transport import Transport
from .jobs import Job, read_job

JobWatcher: TypeAlias = Callable[[Job], None]

RECONNECT_S = 0.5
POLL_S = 1.0
# The service sends data every second; a proxy that buffers events sends nothing.
SILENCE_S = 10.0
# Consecutive streams without an event before the client polls instead.
MOST_DEAF_STREAMS = 2
CANCEL_S = 3.0


class Jobs(Protocol):
    """Client methods that following and cancelling a job need."""

    @property
    def url(self) -> str:
        """Return the address of the service."""
        ...

    async def job(self, id: str, *, windows: bool = False) -> Job:
        """Return the record of a job."""
        ...

    async def cancel(self, id: str) -> Job:
        """Stop a job and return its record."""
        ...

    def follow(self, id: str) -> AsyncIterator[Job]:
        """Yield the records of a job."""
        ...


async def follow(transport: Transport, client: Jobs, path: str, patience_s: float) -> AsyncGenerator[Job, None]:
    """Yield the record at `path` each time it arrives, up to the first one of a job that has ended.

    Broken connections and restarts of the service are tolerated for `patience_s` seconds without a record.
    """
    deaf, news = 0, time.monotonic()
    id = path.rpartition("/")[2]
    while True:
        heard = False
        try:
            if deaf < MOST_DEAF_STREAMS:
                async with aclosing(_stream(transport, f"{path}/events")) as records:
                    async for job in records:
                        heard, news = True, time.monotonic()
                        yield job
                        if job.ended:
                            return
            else:
                job, news = await client.job(id), time.monotonic()
                yield job
                if job.ended:
                    return
        except (ServiceUnavailable, ServiceUnreachable) as error:
            if time.monotonic() - news > patience_s:
                raise
            heard = isinstance(error, ConnectFailed)  # a restarting service says nothing about whether streams work
        if deaf < MOST_DEAF_STREAMS:
            deaf = 0 if heard else deaf + 1
        await asyncio.sleep(RECONNECT_S if deaf < MOST_DEAF_STREAMS else POLL_S)


async def _stream(transport: Transport, path: str) -> AsyncGenerator[Job, None]:
    async with transport.events(path, SILENCE_S) as events:
        if isinstance(events, Response):
            error = error_of(events, transport.url)
            if isinstance(error, RequestRefused | ServiceUnavailable):
                raise error
            return  # not an event stream, but the job may be fine
        async for event in events:
            if event.name in ("progress", "end"):
                try:
                    job = read_job(json.loads(event.data))
                except (KeyError, TypeError, ValueError, AttributeError):
                    return
                yield job


async def whole_job(client: Jobs, job: Job, watch: JobWatcher | None) -> Job:
    """Follow `job` until it is done and return it; cancelling this call cancels the job.

    Raises:
        JobFailed: The job failed or was cancelled.
    """
    if watch is not None:
        watch(job)
    try:
        async for record in client.follow(job.id):
            job = record
            if watch is not None:
                watch(job)
    except asyncio.CancelledError:
        await stopped(client, job.id)
        raise
    if job.state != "done":
        raise failure(job)
    return job


async def stopped(client: Jobs, id: str) -> None:
    """Cancel an abandoned job; give up after `CANCEL_S` seconds."""
    with suppress(ClipstackError), anyio.move_on_after(CANCEL_S, shield=True):
        await client.cancel(id)


def failure(job: Job) -> JobFailed:
    """Return the error of a job that ended without being done."""
    code, message = job.error or (job.state, "the job was cancelled")
    return JobFailed(message, code=code, job_id=job.id)
