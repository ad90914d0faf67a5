"""Pool of disposable decoder processes: a hostile file crashes its decoder process, never the service.

Each task runs in one of a few sandboxed processes (app/sandbox). They are forked from a small server process that has
loaded only the decoders, so a new one starts within milliseconds. They write pixels directly into the shared region;
only metadata crosses the process boundary. app/decoding/worker.py contains the code that runs inside them.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from app.admission.deadline import Deadline
from app.decoding import startup, warmup, worker
from app.decoding import tasks as decoder_tasks
from app.decoding.tasks import TimeBudget
from app.decoding.worker import DecodeTask
from app.errors import DecodeTimeout, NotReady, Undecodable
from app.media.types import DecodedFile, Limits, Media, Source
from app.sandbox import SandboxConfig, exits, forkserver
from app.sandbox.exits import Exit

Result = TypeVar("Result")

MAX_TASKS = 2000  # tasks before a process is replaced, as a limit on leaks (docs/decisions/0004)
# Attempts for a file whose decoder was killed from outside; memory may become free during the delay.
TRIES, RETRY_DELAY_S = 3, 0.2

BROKEN = "the file is damaged so badly that it broke its decoder"

log = logging.getLogger(__name__)


class _Killed(Exception):
    """A decoder process was killed from outside; the file is not the cause."""


class Decoder:
    """Pool of decoder processes. Create after fork and use from one event loop.

    Args:
        processes: Number of processes.
        timeout_s: Longest time for one file, seconds, without the wait for a process.
        limits: Limits on the media.
        confinement: Sandbox of the processes. With its `gpu` set, each process has a context on that GPU and can
            decode videos into the slots there.
    """

    def __init__(self, processes: int, timeout_s: float, limits: Limits, confinement: SandboxConfig) -> None:
        self._processes, self._timeout_s, self.limits = processes, timeout_s, limits
        self.confinement = confinement
        self._free = asyncio.Semaphore(processes)  # the pool's own queue has no timeout
        self._busy = self._waiting = 0
        self._pool: ProcessPool | None = None
        self._ending: asyncio.Future[None] | None = None  # shutdown of the previous pool
        self._ends: Counter[str] = Counter()
        self.warm = 0  # processes that completed their warm-up
        self.cold = "its decoders have not started"  # why not all processes are warm; empty when they are

    def budget(self) -> TimeBudget:
        """Return a time budget for one file. Without one, each call gets its own."""
        return TimeBudget(self._timeout_s)

    def start(self) -> None:
        """Start the processes, and return when each is warm or has reported why not.

        Raises:
            SandboxError: A required layer of the sandbox is unavailable.
            GpuUnavailable: Decoding on a GPU is configured but impossible.
        """
        self._pool = self._new_pool()
        try:
            startup.check_layers(self._pool, self.confinement)
            self.warm, self.cold = startup.wait_warm(self._pool, self._processes)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the processes, even busy ones. Safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            decoder_tasks.stop(pool)

    async def probe(self, source: Source, deadline: Deadline | None = None, budget: TimeBudget | None = None) -> Media:
        """Return the kind and properties of a file.

        Args:
            source: The file.
            deadline: The task does not start after it.
            budget: Time budget of the file.

        Raises:
            UnsupportedMedia: The format is not supported.
            NoVideoStream: The file has no video stream.
            LimitExceeded: The file exceeds a limit.
            Undecodable: The file is damaged.
            DecodeTimeout: The budget was used up.
            NotReady: The decoder is not running or was killed from outside.
            DeadlineExceeded: The deadline passed before a process was free.
        """
        self.confinement.admit(source.path)
        return _checked(await self._run(deadline, budget, worker.probe, source, self.limits), Media)

    async def decode(
        self, task: DecodeTask, deadline: Deadline | None = None, budget: TimeBudget | None = None
    ) -> DecodedFile:
        """Read the properties of a file and write the requested clips into the region. Raises like `probe`.

        When this returns, raises or is cancelled, no process writes into the region any more.
        """
        self.confinement.admit(task.source.path)
        decoded = _checked(await self._run(deadline, budget, worker.decode_file, task, self.limits), DecodedFile)
        if decoded.clips is None and not task.only_short:
            raise Undecodable(BROKEN)
        return decoded

    async def _run(
        self, deadline: Deadline | None, budget: TimeBudget | None, function: Callable[..., Result], *arguments: object
    ) -> Result:
        async with self._process():
            if deadline is not None:
                deadline.check("it waited for a decoder")
            return await self._retried(budget or self.budget(), function, arguments)

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[None]:
        """Wait for a free process and hold it for the block."""
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._free.release()

    async def _retried(
        self, budget: TimeBudget, function: Callable[..., Result], arguments: tuple[object, ...]
    ) -> Result:
        """Run one task; repeat it when its process was killed from outside, which costs the file no time."""
        for attempt in range(TRIES):
            left_s = budget.left_s
            try:
                return await self._attempt(await self._current_pool(), budget, function, arguments)
            except BrokenProcessPool:
                self._ends["idle"] += 1  # an idle process died and broke the pool; the file is not the cause
            except _Killed:
                budget.left_s = left_s
                if attempt + 1 < TRIES:
                    await asyncio.sleep(RETRY_DELAY_S * (attempt + 1))
        log.debug("a decoder was ended from outside %d times in a row", TRIES)  # /metrics counts them
        raise NotReady("the decoder was killed from outside, perhaps because memory ran out; please try again")

    async def _attempt(
        self, pool: ProcessPool, budget: TimeBudget, function: Callable[..., Result], arguments: tuple[object, ...]
    ) -> Result:
        """Run one task in the pool. Raises _Killed or BrokenProcessPool when the file did not cause the failure."""
        try:
            # The pool's own timeout uses the wall clock: a clock change would end all tasks.
            task: Future[Result] = pool.schedule(worker.run_limited, (budget.left_s, function, *arguments))
        except RuntimeError as error:  # the pool broke just now
            raise BrokenProcessPool(str(error)) from error
        answer = asyncio.wrap_future(task)
        is_lost, reason = False, "cancelled"
        try:
            if not await decoder_tasks.wait_started(task, answer, pool):
                self._replace(pool)
                raise BrokenProcessPool("the pool lost the task")
            with budget.used():
                is_lost = await decoder_tasks.wait_done_or_lost(task, answer, pool, budget.left_s)
            reason = "lost" if is_lost else "timeout"
        finally:
            if task.running():
                self._ends[reason] += 1
            is_done = answer.done()
            await decoder_tasks.cancel(task)
            answer.cancel()
        if is_lost:
            raise _Killed
        if not is_done:
            raise DecodeTimeout(f"decoding took longer than the {self._timeout_s:g} s allowed")
        return self._result(answer)

    def _result(self, answer: asyncio.Future[Result]) -> Result:
        """Return the result of a finished task, or raise the error that its failure means."""
        if answer.cancelled():
            raise BrokenProcessPool("the pool was replaced")
        error = answer.exception()
        if isinstance(error, ProcessExpired):
            self._ends[exits.label(error.exitcode)] += 1
            end = exits.classify(error.exitcode)
            if end is Exit.OUTSIDE:
                raise _Killed from error
            if end is Exit.FILE:
                raise Undecodable(BROKEN) from error
        elif isinstance(error, TimeoutError):
            self._ends["timeout"] += 1
        else:
            return answer.result()
        raise DecodeTimeout(f"decoding took longer than the {self._timeout_s:g} s allowed") from error

    def facts(self) -> dict[str, Any]:
        """Return the counts of processes, running and waiting tasks, and process deaths by cause."""
        counts = {"processes": self._processes, "busy": self._busy, "waiting": self._waiting}
        return counts | {"ends": dict(self._ends)}

    async def _current_pool(self) -> ProcessPool:
        """Return the pool; replace a broken one after its processes, which may write into the region, have ended."""
        if self._pool is not None and not self._pool.active:
            self._replace(self._pool)
        if self._ending is not None:
            await asyncio.shield(self._ending)
        if self._pool is None:
            raise NotReady("the decoder is not running")
        return self._pool

    def _replace(self, broken: ProcessPool) -> None:
        """Replace the pool `broken` if it is still current; its remaining tasks are cancelled."""
        if self._pool is broken:
            self._pool = self._new_pool()
            self._ending = asyncio.get_running_loop().run_in_executor(None, decoder_tasks.stop, broken)

    def _new_pool(self) -> ProcessPool:
        ready = (self.confinement, warmup.files())
        return ProcessPool(self._processes, MAX_TASKS, worker.prepare, ready, forkserver())


def _checked(result: Result, kind: type[Result]) -> Result:
    """Return the result of a decoder after a type check: a compromised decoder may send anything."""
    if not isinstance(result, kind):
        raise Undecodable(BROKEN)
    return result
