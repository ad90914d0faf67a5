"""Works many files off, some at a time, and tells what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from client.answers import Result
from client.cli.files import File
from client.errors import (
    ClipstackError,
    ConnectFailed,
    KeyRefused,
    ReductionUnavailable,
    ServiceUnavailable,
    ServiceUnreachable,
)
from client.jobs import Job

# The same would become of every other file
GIVES_UP = ServiceUnavailable | ServiceUnreachable | ReductionUnavailable | KeyRefused


@dataclass(frozen=True)
class Outcome:
    """What became of one file: an answer, an error, or neither when it was not sent at all."""

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

    In order means: as soon as all files before it are shown. Once the service cannot be reached, is busy beyond
    all patience or refuses the key, nothing more is sent. When this is cancelled, what is done and waits for its
    turn is shown first.
    """
    slots = asyncio.Semaphore(concurrency)
    held: dict[int, Outcome] = {}
    shown, gave_up = 0, False

    async def one(number: int, file: File) -> None:
        nonlocal shown, gave_up
        try:
            outcome = Outcome(file) if gave_up else await outcome_of(work, file)
            if gave_up and isinstance(outcome.error, ConnectFailed | ServiceUnavailable | KeyRefused):
                outcome = Outcome(file)  # tried at the same time, and not sent either: one word of it will do
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
        async with asyncio.TaskGroup() as tasks:
            number = 0
            async for file in files:
                await slots.acquire()
                tasks.create_task(one(number, file))
                number += 1
    finally:
        for number in sorted(held):
            show(held.pop(number))


async def outcome_of(work: Work, file: File) -> Outcome:
    """Do the work for one file; an error of the file, the service or the way to it is an outcome."""
    try:
        return Outcome(file, answer=await work(file))
    except (ClipstackError, OSError) as error:
        return Outcome(file, error=error)


async def each(files: Iterable[File]) -> AsyncIterator[File]:
    """The files as `run` takes them."""
    for file in files:
        yield file
