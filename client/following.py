"""Follows one job to its end: by server-sent events as long as they come, by asking once a second where they do not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Protocol, TypeAlias

from client.errors import (
    ClipstackError,
    ConnectFailed,
    JobFailed,
    RequestRefused,
    ServiceUnavailable,
    ServiceUnreachable,
)
from client.jobs import Job, read_job
from client.reply import Response, error_of
from client.transport import Transport

JobWatcher: TypeAlias = Callable[[Job], None]

RECONNECT_S = 0.5
POLL_S = 1.0
# The service sends something every second; a proxy in between that holds events back sends nothing at all.
SILENCE_S = 10.0
# Streams in a row without a single event before asking takes the place of listening.
MOST_DEAF_STREAMS = 2
CANCEL_S = 3.0


class Jobs(Protocol):
    """What of a client is needed to follow a job, and to stop it."""

    @property
    def url(self) -> str: ...

    async def job(self, id: str, *, windows: bool = False) -> Job: ...

    async def cancel(self, id: str) -> Job: ...

    def follow(self, id: str) -> AsyncIterator[Job]: ...


async def follow(transport: Transport, client: Jobs, path: str, patience_s: float) -> AsyncGenerator[Job, None]:
    """The record at `path` each time it comes, to the first one of a job that has ended.

    Connections that break, and a service that restarts, are borne for `patience_s` seconds without news.
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
            heard = isinstance(error, ConnectFailed)  # a service that restarts says nothing about streams
        if deaf < MOST_DEAF_STREAMS:
            deaf = 0 if heard else deaf + 1
        await asyncio.sleep(RECONNECT_S if deaf < MOST_DEAF_STREAMS else POLL_S)


async def _stream(transport: Transport, path: str) -> AsyncGenerator[Job, None]:
    async with transport.events(path, SILENCE_S) as events:
        if isinstance(events, Response):
            error = error_of(events, transport.url)
            if isinstance(error, RequestRefused | ServiceUnavailable):
                raise error
            return  # something else than events: not worth listening to, but the job may be well
        async for event in events:
            if event.name in ("progress", "end"):
                try:
                    job = read_job(json.loads(event.data))
                except (KeyError, TypeError, ValueError, AttributeError):
                    return
                yield job


async def whole_job(client: Jobs, job: Job, watch: JobWatcher | None) -> Job:
    """Follow `job` until it is done; raises JobFailed when it is not to be. Cancelled itself, it cancels the job."""
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
    """Cancel a job nobody waits for any more; what cannot be told to the service within `CANCEL_S` is left."""
    with suppress(ClipstackError, TimeoutError):
        async with asyncio.timeout(CANCEL_S):
            await client.cancel(id)


def failure(job: Job) -> JobFailed:
    """The error that a job stands for which ended without being done."""
    code, message = job.error or (job.state, "the job was cancelled")
    return JobFailed(message, code=code, job_id=job.id)
