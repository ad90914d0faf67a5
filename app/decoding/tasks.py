"""Follow a task through a pool of decoder processes: whether it has begun, was lost, or has ended."""

import asyncio
import time
from concurrent.futures import Future, wait
from typing import TypeVar

from pebble import ProcessPool

Result = TypeVar("Result")

START_TIMEOUT_S = 30.0
LOST_AFTER_S = 5.0  # a process that is to end and has not been reported dead is lost
POLL_S = 0.01
LOOK_S = 0.5  # between two looks at whether the process of a task is still there


def end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


async def begun(task: Future[Result], answer: asyncio.Future[Result], pool: ProcessPool) -> bool:
    """Return when a process works on the task, or has: True; False when none will."""
    began = time.monotonic()
    while not (task.running() or task.done()):
        if not pool.active or time.monotonic() > began + START_TIMEOUT_S:
            return False
        await asyncio.wait([answer], timeout=POLL_S)
    return True


async def is_lost(task: Future[Result], answer: asyncio.Future[Result], pool: ProcessPool, timeout_s: float) -> bool:
    """Return when the task is done or its time is over: False; True when its process is gone and the pool missed it.

    A process that is killed right after it took a task is reported dead before the pool hears that it has it. A pool
    whose threads ended, by what a hostile process said, never hears of anything.
    """
    deadline = time.monotonic() + timeout_s
    while not answer.done() and (left_s := deadline - time.monotonic()) > 0:
        # Not `wait_for`, which would cancel the task by itself, and without waiting for its process to die.
        await asyncio.wait([answer], timeout=min(left_s, LOOK_S))
        is_there = pool.active and _worker(task, pool) in pool._pool_manager.worker_manager.workers
        if not answer.done() and not is_there:
            await asyncio.wait([answer], timeout=LOOK_S)  # its end may be on the way
            return not answer.done()
    return False


def _worker(task: Future[Result], pool: ProcessPool) -> int | None:
    """Return the pid of the process that works on a task, as far as the pool knows."""
    tasks = list(pool._pool_manager.task_manager.tasks.copy().values())
    return next((each.worker_id for each in tasks if each.future is task), None)


async def ended(task: Future[Result]) -> None:
    """Cancel a task that still runs, and wait for its process to die: it may be writing into the region."""
    if task.done():
        return
    # A task cancelled before the pool hears that it runs counts as ended at once, but its process goes on.
    deadline = time.monotonic() + LOST_AFTER_S
    while not (task.running() or task.done()) and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
    if task.cancel():
        await asyncio.get_running_loop().run_in_executor(None, wait, [task], LOST_AFTER_S)
