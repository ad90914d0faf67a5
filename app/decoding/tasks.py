"""Tracking of tasks in the decoder pool: time, start, loss and end."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TypeVar

from pebble import ProcessPool

Result = TypeVar("Result")

START_TIMEOUT_S = 30.0
LOST_AFTER_S = 5.0  # longest wait for the death of a process that is being ended
POLL_INTERVAL_S = 0.01
CHECK_INTERVAL_S = 0.5  # interval of checks that the task's process still exists


class TimeBudget:
    """Time that one file may spend in decoder processes, over all tries."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.left_s = seconds, seconds

    @contextmanager
    def used(self) -> Iterator[None]:
        """Subtract the duration of the block."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.left_s = max(0.0, self.left_s - (time.monotonic() - started))


def stop(pool: ProcessPool) -> None:
    """Stop a pool and wait for its processes to end."""
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


async def wait_started(task: Future[Result], answer: asyncio.Future[Result], pool: ProcessPool) -> bool:
    """Wait until a process has started the task; return False when none will."""
    started = time.monotonic()
    while not (task.running() or task.done()):
        if not pool.active or time.monotonic() > started + START_TIMEOUT_S:
            return False
        await asyncio.wait([answer], timeout=POLL_INTERVAL_S)
    return True


async def wait_done_or_lost(
    task: Future[Result], answer: asyncio.Future[Result], pool: ProcessPool, timeout_s: float
) -> bool:
    """Wait until the task is done or times out; return True when its process has died unnoticed by the pool.

    Two causes are known. The death of a process that is killed right after it took a task reaches the pool before the
    start of that task. A pool whose threads crashed on a message of a hostile process notices nothing.
    """
    deadline = time.monotonic() + timeout_s
    while not answer.done() and (left_s := deadline - time.monotonic()) > 0:
        # `wait_for` would cancel the task without waiting for its process to die.
        await asyncio.wait([answer], timeout=min(left_s, CHECK_INTERVAL_S))
        is_there = pool.active and _worker(task, pool) in pool._pool_manager.worker_manager.workers
        if not answer.done() and not is_there:
            await asyncio.wait([answer], timeout=CHECK_INTERVAL_S)  # its result may be in transit
            return not answer.done()
    return False


def _worker(task: Future[Result], pool: ProcessPool) -> int | None:
    """Return the pid of the process that runs a task, according to the pool; None if it knows none."""
    tasks = list(pool._pool_manager.task_manager.tasks.copy().values())
    return next((entry.worker_id for entry in tasks if entry.future is task), None)


async def cancel(task: Future[Result]) -> None:
    """Cancel a running task and wait for its process to die, because it may be writing into the region."""
    if task.done():
        return
    # A task that is cancelled before the pool sees its start counts as ended, although its process runs.
    deadline = time.monotonic() + LOST_AFTER_S
    while not (task.running() or task.done()) and time.monotonic() < deadline:
        await asyncio.sleep(POLL_INTERVAL_S)
    if task.cancel():
        await asyncio.get_running_loop().run_in_executor(None, wait, [task], LOST_AFTER_S)
