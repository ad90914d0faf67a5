"""Run of a command on an event loop, and concurrent processing of many files."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
import click

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

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

INTERRUPTED = 130
TERMINATED = 128 + signal.SIGTERM
BROKEN_PIPE = 128 + 13  # as a shell reports SIGPIPE
# Errors that every other file would get too
FATAL = ServiceUnavailable | ServiceUnreachable | ReductionUnavailable | KeyRefused


@dataclass(frozen=True)
class Outcome:
    """Outcome of one file: an answer, an error, or neither if it was not sent."""

    file: File
    answer: Result | Job | None = None
    error: ClipstackError | OSError | None = None


Work: TypeAlias = Callable[[File], Awaitable[Result | Job]]


def run_command(work: Coroutine[Any, Any, int]) -> None:
    """Run a command and exit with its code; Ctrl-C and SIGTERM cancel it and give their usual codes."""

    async def interruptible() -> int:
        task = asyncio.current_task()
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task and task.cancel())
        return await work

    try:
        code = asyncio.run(interruptible())
    except KeyboardInterrupt:
        code = INTERRUPTED
    except asyncio.CancelledError:
        code = TERMINATED
    except BrokenPipeError:
        code = end_of_pipe()
    except BaseExceptionGroup as group:
        if not isinstance(group.exceptions[0], BrokenPipeError):
            raise group.exceptions[0] from None
        code = end_of_pipe()
    click.get_current_context().exit(code)


def end_of_pipe() -> int:
    """Discard the rest of standard output, whose reader is gone, and return the exit code."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return BROKEN_PIPE


async def run(
    work: Work,
    files: AsyncIterator[File],
    concurrency: int,
    show: Callable[[Outcome], None],
    *,
    in_order: bool,
) -> None:
    """Call `work` for every file, `concurrency` at a time, and `show` with each outcome.

    Nothing more is sent once the service is unreachable, stays busy beyond the patience, or refuses the key. With
    `in_order` an outcome is shown after those of all earlier files. A cancelled call first shows the finished outcomes.
    """
    slots = asyncio.Semaphore(concurrency)
    finished: dict[int, Outcome] = {}
    next_shown, stopped = 0, False

    async def process(number: int, file: File) -> None:
        nonlocal next_shown, stopped
        try:
            outcome = Outcome(file) if stopped else await outcome_of(work, file)
            if stopped and isinstance(outcome.error, ConnectFailed | ServiceUnavailable | KeyRefused):
                outcome = Outcome(file)  # failed at the same time as the first one: report the error once
        finally:
            slots.release()
        stopped = stopped or isinstance(outcome.error, FATAL)
        if not in_order:
            show(outcome)
            return
        finished[number] = outcome
        while next_shown in finished:
            show(finished.pop(next_shown))
            next_shown += 1

    try:
        async with anyio.create_task_group() as tasks:
            number = 0
            async for file in files:
                await slots.acquire()
                tasks.start_soon(process, number, file)
                number += 1
    finally:
        for number in sorted(finished):
            show(finished.pop(number))


async def outcome_of(work: Work, file: File) -> Outcome:
    """Process one file; an error of the file, the service or the connection becomes its outcome."""
    try:
        return Outcome(file, answer=await work(file))
    except (ClipstackError, OSError) as error:
        return Outcome(file, error=error)


async def iterate(files: Iterable[File]) -> AsyncIterator[File]:
    """Yield the files, as `run` expects them."""
    for file in files:
        yield file
