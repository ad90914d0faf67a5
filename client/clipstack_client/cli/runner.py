"""Concurrent processing of many files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from ..errors import (
    ClipstackError,
    ConnectFailed,
    KeyRefused,
    ReductionUnavailable,
    ServiceUnavailable,
    ServiceUnreachable,
)
from ..jobs import Job
from ..models import Result
from .inputs import File

# Errors that every other file would get too
GIVES_UP = ServiceUnavailable | ServiceUnreachable | ReductionUnavailable | KeyRefused


@dataclass(frozen=True)
class Outcome:
    """Outcome of one file: an answer, an error, or neither if it was not sent."""

    file: File
    answer: Result | Job | None = None
    error: ClipstackError | OSError | None = None


Work: TypeAlias = Callable[[File], Awaitable[Result | Job]]


async def run(
    work: Work,
    files: AsyncIterator[File],
    concurrency: int,
    show: Callable[[Outcome], None],
    *,
    in_order: bool,
) -> None:
    """Call `work` for every file, `concurrency` at a time, and `show` with each outcome.

    Nothing more is sent once the service is unreachable, stays busy beyond the patience, or refuses the key. When this
    call is cancelled, it first shows the finished outcomes.

    Args:
        work: Processes one file.
        files: The files.
        concurrency: Number of files at a time.
        show: Receives each outcome.
        in_order: Whether to show an outcome only after those of all earlier files.
    """
    slots = asyncio.Semaphore(concurrency)
    held: dict[int, Outcome] = {}
    shown, gave_up = 0, False

    async def one(number: int, file: File) -> None:
        nonlocal shown, gave_up
        try:
            outcome = Outcome(file) if gave_up else await outcome_of(work, file)
            if gave_up and isinstance(outcome.error, ConnectFailed | ServiceUnavailable | KeyRefused):
                outcome = Outcome(file)  # failed at the same time as the first one: report the error once
        finally:
            slots.release()
        gave_up = gave_up or isinstance(outcome.error, GIVES_UP)
        if not in_order:
            show(outcome)
            return
        held[number] = outcome
        while shown in held:
            show(held.pop(shown))
            shown += 1

    try:
        async with anyio.create_task_group() as tasks:
            number = 0
            async for file in files:
                await slots.acquire()
                tasks.start_soon(one, number, file)
                number += 1
    finally:
        for number in sorted(held):
            show(held.pop(number))


async def outcome_of(work: Work, file: File) -> Outcome:
    """Process one file; an error of the file, the service or the connection becomes its outcome."""
    try:
        return Outcome(file, answer=await work(file))
    except (ClipstackError, OSError) as error:
        return Outcome(file, error=error)


async def each(files: Iterable[File]) -> AsyncIterator[File]:
    """Yield the files, as `run` expects them."""
    for file in files:
        yield file
