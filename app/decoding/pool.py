"""Decodes in processes that may die: a hostile file ends its own process, never the service.

Each task runs in one of a few disposable, confined processes (app/confinement). They are forked from a
small server process that has loaded the decoders and nothing else, so that a new one is there in milliseconds, and
write pixels into the shared region themselves: only facts cross the boundary. What runs inside them is
app/decoding/worker.py.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from app.admission.deadline import Deadline
from app.admission.queue import Lane, LaneScheduler
from app.admission.shared_semaphore import SharedSemaphore
from app.decoding import tasks as decoder_tasks
from app.decoding import warmup, worker
from app.errors import DecodeTimeout, NotReady, Undecodable
from app.media.types import ClipRequest, DecodeResult, Limits, Media, Source
from app.sandbox import SandboxConfig, exits, forkserver, held, tell
from app.sandbox.exits import Exit
from app.video import gpu_decoding
from app.video.gpu_decoding import GpuUnavailable

Result = TypeVar("Result")

MAX_TASKS = 2000  # then a process is replaced, which some task waits for; 7,000, most with damaged files, cost 2 MiB
START_TIMEOUT_S = 30.0
ROUND_S = 0.02
# A file is tried so often when its decoders are killed from outside, with a pause in which memory may come free.
TRIES, RETRY_DELAY_S = 3, 0.2

log = logging.getLogger(__name__)


class _Killed(Exception):
    """A decoder process was ended from outside; the file is not to blame."""


class TimeBudget:
    """The time that one file may be worked on in decoder processes: what probing took, decoding has no more."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.left_s = seconds, seconds

    @contextmanager
    def used(self) -> Iterator[None]:
        """The block's time is taken off."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.left_s = max(0.0, self.left_s - (time.monotonic() - began))


class Decoder:
    """A pool of `processes` decoder processes; made after fork, used from one event loop.

    `timeout_s` is the longest that one file may be probed and decoded, waiting for a process not included. With a
    `gpu` in `confinement` each process has a context there too, and videos can be decoded into those slots.
    """

    def __init__(self, processes: int, timeout_s: float, limits: Limits, confinement: SandboxConfig) -> None:
        self._processes, self._timeout_s, self.limits = processes, timeout_s, limits
        self.confinement = confinement
        self._lanes = LaneScheduler(lambda: processes, share=SharedSemaphore(max(1, processes // 2)))
        self._pool: ProcessPool | None = None
        self._ending: asyncio.Future[None] | None = None  # of the pool before
        self._ends: Counter[str] = Counter()
        self.warm = 0  # processes that have decoded films of our own
        self.cold = "its decoders have not started"  # why they are not all warm

    def allowance(self) -> TimeBudget:
        """For the probing and the decoding of one file; each has one for itself where none is passed."""
        return TimeBudget(self._timeout_s)

    def start(self) -> None:
        """Start the processes; returns when each is warm or has said why not, raises when none can be started.

        Raises Unconfined when they cannot be confined as they must be, NotOnGpu when they are to decode on a GPU and
        cannot.
        """
        self._pool = self._new_pool()
        try:
            tell(self._pool.schedule(held).result(START_TIMEOUT_S), self.confinement)
            if self.confinement.gpu is not None:
                self._has_gpu(self._pool)
            self._all_rehearsed(self._pool)
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _has_gpu(pool: ProcessPool) -> None:
        if reason := pool.schedule(gpu_decoding.why_not).result(START_TIMEOUT_S):
            raise GpuUnavailable(f"CLIPSTACK_DECODER_DEVICE is cuda, and no video can be decoded there: {reason}")

    def _all_rehearsed(self, pool: ProcessPool) -> None:
        """Returns when each process has told how its rehearsal went: in rounds, as whoever is free takes a task."""
        told: dict[int, str] = {}
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(told) < self._processes and time.monotonic() < deadline:
            tasks = [pool.schedule(worker.rehearsed) for _ in range(self._processes)]
            told |= dict(task.result(START_TIMEOUT_S) for task in tasks)
            if len(told) < self._processes:
                time.sleep(ROUND_S)
        faults = sorted({fault for fault in told.values() if fault})
        if len(told) < self._processes:
            faults.append(f"{len(told)} of its {self._processes} decoders have started")
        self.warm, self.cold = list(told.values()).count(""), "; ".join(faults)
        if faults:
            log.warning("decoders are not warm: %s", self.cold)

    def stop(self) -> None:
        """End the processes, whatever they do; safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            decoder_tasks.end(pool)

    async def probe(
        self, source: Source, lane: Lane = Lane.SHORT, deadline: Deadline | None = None,
        allowance: TimeBudget | None = None, owner: str = "",
    ) -> Media:  # fmt: skip
        """Tell what a file is.

        Raises UnsupportedMedia, NoVideoStream, LimitExceeded, Undecodable, DecodeTimeout, NotReady, and
        DeadlineExceeded instead of beginning after the deadline.
        """
        self.confinement.admit(source.path)
        media = await self._run(lane, owner, deadline, allowance, worker.probe, source, self.limits)
        return _checked(media, Media)

    async def decode(
        self, source: Source, media: Media, request: ClipRequest,
        lane: Lane = Lane.SHORT, deadline: Deadline | None = None, allowance: TimeBudget | None = None,
        owner: str = "",
    ) -> DecodeResult:  # fmt: skip
        """Write the wanted clips into the region; raises as `probe` does.

        When this returns or raises, also by cancelling, nothing writes into the region any more.
        """
        self.confinement.admit(source.path)
        return await self._run(lane, owner, deadline, allowance, worker.decode, source, media, request, self.limits)

    async def _run(
        self, lane: Lane, owner: str, deadline: Deadline | None, allowance: TimeBudget | None,
        function: Callable[..., Result], *arguments: object,
    ) -> Result:  # fmt: skip
        allowance = allowance or self.allowance()
        await self._lanes.enter(lane, owner)  # a task never waits inside the pool, where nothing would limit its wait
        try:
            if deadline is not None:
                deadline.check("it waited for a decoder")
            for attempt in range(TRIES):
                left_s = allowance.left_s
                try:
                    return await self._attempt(await self._living(), allowance, function, arguments)
                except BrokenProcessPool:
                    self._ends["idle"] += 1  # a process died idle, which breaks the pool and is no fault of this file
                except _Killed:
                    allowance.left_s = left_s
                    if attempt + 1 < TRIES:
                        await asyncio.sleep(RETRY_DELAY_S * (attempt + 1))
            log.debug("a decoder was ended from outside %d times in a row", TRIES)  # /metrics counts each
            raise NotReady("the decoder was ended from outside, perhaps for want of memory; please try again")
        finally:
            self._lanes.leave(lane, owner)

    async def _attempt(
        self, pool: ProcessPool, allowance: TimeBudget, function: Callable[..., Result], arguments: tuple[object, ...]
    ) -> Result:
        """Run one task in the pool; raises _Killed and BrokenProcessPool when the file is not to blame for its end."""
        try:
            # Not with the pool's own timeout, which goes by the time of day: a clock that is set would end all tasks.
            task: Future[Result] = pool.schedule(worker.limited, (allowance.left_s, function, *arguments))
        except RuntimeError as error:  # it broke just now
            raise BrokenProcessPool(str(error)) from error
        answer = asyncio.wrap_future(task)
        is_lost, why = False, "cancelled"
        try:
            if not await decoder_tasks.begun(task, answer, pool):
                self._replace(pool)
                raise BrokenProcessPool("the pool lost the task")
            with allowance.used():
                is_lost = await decoder_tasks.is_lost(task, answer, pool, allowance.left_s)
            why = "lost" if is_lost else "timeout"
        finally:
            if task.running():
                self._ends[why] += 1
            is_done = answer.done()
            await decoder_tasks.ended(task)
            answer.cancel()
        if is_lost:
            raise _Killed
        if not is_done:
            raise DecodeTimeout(f"decoding took longer than the {self._timeout_s:g} s allowed")
        return self._result(answer)

    def _result(self, answer: asyncio.Future[Result]) -> Result:
        """Return what a task gave that is done, or raise what its end means."""
        if answer.cancelled():
            raise BrokenProcessPool("the pool was replaced")
        error = answer.exception()
        if isinstance(error, ProcessExpired):
            self._ends[exits.label(error.exitcode)] += 1
            end = exits.judge(error.exitcode)
            if end is Exit.OUTSIDE:
                raise _Killed from error
            if end is Exit.FILE:
                raise Undecodable("the file is damaged so badly that it broke its decoder") from error
        elif isinstance(error, TimeoutError):
            self._ends["timeout"] += 1
        else:
            return answer.result()
        raise DecodeTimeout(f"decoding took longer than the {self._timeout_s:g} s allowed") from error

    def facts(self) -> dict[str, Any]:
        """How many processes there are, work and are waited for, and how often one ended at work, by what."""
        busy, waiting = self._lanes.all_at_work, self._lanes.waiting
        return {"processes": self._processes, "busy": busy, "waiting": waiting, "ends": dict(self._ends)}

    async def _living(self) -> ProcessPool:
        """Return the pool; a broken one is replaced, after its processes have ended: they may write into the region."""
        if self._pool is not None and not self._pool.active:
            self._replace(self._pool)
        if self._ending is not None:
            await asyncio.shield(self._ending)
        if self._pool is None:
            raise NotReady("the decoder is not running")
        return self._pool

    def _replace(self, broken: ProcessPool) -> None:
        """Put a new pool in the place of `broken`, unless that was done; tasks that are left in it are cancelled."""
        if self._pool is broken:
            self._pool = self._new_pool()
            self._ending = asyncio.get_running_loop().run_in_executor(None, decoder_tasks.end, broken)

    def _new_pool(self) -> ProcessPool:
        ready = (self.confinement, warmup.files())
        return ProcessPool(self._processes, MAX_TASKS, worker.prepare, ready, forkserver())


def _checked(result: Result, kind: type[Result]) -> Result:
    """Return what a decoder said; one that a file has taken over may say anything."""
    if not isinstance(result, kind):
        raise Undecodable("the file is damaged so badly that it broke its decoder")
    return result
