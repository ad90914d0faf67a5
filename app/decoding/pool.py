"""Pool of disposable decoder processes: a hostile file crashes its decoder process, never the service.

Each task runs in one of a few sandboxed processes (app/sandbox). They are forked from a small server process that has
loaded only the decoders, so a new one starts within milliseconds. They write pixels directly into the shared region;
only metadata crosses the process boundary. app/decoding/worker.py contains the code that runs inside them.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pickle import PicklingError
from typing import Any, TypeVar

from app.admission.deadline import Deadline
from app.decoding import worker
from app.decoding.process import DecoderProcess
from app.decoding.worker import DecoderReady, DecodeTask
from app.errors import DecodeTimeout, NotReady, Undecodable
from app.media.types import DecodedFile, Limits, Media, Source
from app.sandbox import SandboxConfig, exits, report_missing
from app.sandbox.exits import Exit
from app.video.gpu_decoding import GpuUnavailable

Result = TypeVar("Result")

# Attempts for a file whose decoder was killed from outside; memory may become free during the delay.
TRIES, RETRY_DELAY_S = 3, 0.2

BROKEN = "the file is damaged so badly that it broke its decoder"

log = logging.getLogger(__name__)


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
        self._places = asyncio.Semaphore(processes)
        self._idle: deque[DecoderProcess] = deque()  # the one that waited longest first
        self._all: set[DecoderProcess] = set()
        self._runs = False
        self._busy = self._waiting = 0
        self._ends: Counter[str] = Counter()
        self.warm = 0  # processes that completed their warm-up
        self.cold = "its decoders have not started"  # why not all processes are warm; empty when they are

    def budget(self) -> TimeBudget:
        """Return a time budget for one file. Without one, each call gets its own."""
        return TimeBudget(self._timeout_s)

    async def start(self) -> None:
        """Start the processes, and return when each is warm or has reported why not.

        Raises:
            SandboxError: A required layer of the sandbox is unavailable.
            GpuUnavailable: Decoding on a GPU is configured but impossible.
            NotReady: A process did not start.
        """
        self._runs = True
        started = await asyncio.gather(*(self._start_process() for _ in range(self._processes)), return_exceptions=True)
        try:
            if errors := [error for error in started if isinstance(error, BaseException)]:
                raise errors[0]
            processes, reports = zip(*started, strict=True)
            report_missing(reports[0].layers, self.confinement)
            if reason := reports[0].gpu_unavailable:
                raise GpuUnavailable(f"CLIPSTACK_DECODER_DEVICE is cuda, and no video can be decoded there: {reason}")
        except BaseException:
            await asyncio.gather(*(process.end() for process in self._all))
            self.stop()
            raise
        self._idle.extend(processes)
        faults = [report.fault for report in reports]
        self.warm, self.cold = faults.count(""), "; ".join(sorted(set(filter(None, faults))))
        if self.cold:
            log.warning("decoders are not warm: %s", self.cold)

    def stop(self) -> None:
        """End the processes, even busy ones. Safe to call twice."""
        self._runs = False
        for process in list(self._all):
            process.end_now()
        while self._idle:
            self._idle.popleft().channel.close()
        self._all.clear()

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
        async with self._place():
            if deadline is not None:
                deadline.check("it waited for a decoder")
            return await self._retried(budget or self.budget(), function, arguments)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait until fewer tasks run than there are processes, and count as one for the block."""
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._places.release()

    async def _retried(
        self, budget: TimeBudget, function: Callable[..., Result], arguments: tuple[object, ...]
    ) -> Result:
        """Run one task; repeat it when its process was killed from outside, which costs the file no time."""
        for attempt in range(TRIES):
            left_s = budget.left_s
            try:
                return await self._attempt(budget, function, arguments)
            except _Killed:
                budget.left_s = left_s
                if attempt + 1 < TRIES:
                    await asyncio.sleep(RETRY_DELAY_S * (attempt + 1))
        log.debug("a decoder was ended from outside %d times in a row", TRIES)  # /metrics counts them
        raise NotReady("the decoder was killed from outside, perhaps because memory ran out; please try again")

    async def _attempt(
        self, budget: TimeBudget, function: Callable[..., Result], arguments: tuple[object, ...]
    ) -> Result:
        """Run one task in a process. Raises _Killed when something outside ended the process."""
        process, is_usable = await self._take(), False
        try:
            with budget.used():
                async with asyncio.timeout(budget.left_s):
                    result = await process.run(budget.left_s, function, arguments)
            is_usable = process.tasks_left > 0
        except TimeoutError:
            raise self._timeout() from None
        except (EOFError, OSError):
            raise self._death(await process.exit_code()) from None
        except PicklingError as error:
            raise Undecodable(BROKEN) from error
        except asyncio.CancelledError:
            self._ends["cancelled"] += 1
            raise
        finally:
            if is_usable and self._runs:
                self._idle.append(process)
            else:
                await asyncio.shield(self._replace(process))
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]  # the caller checks its type

    async def _take(self) -> DecoderProcess:
        """Return an idle process, or a new one if there is none or it has ended. Raises NotReady."""
        if self._idle:
            process = self._idle.popleft()
            if process.channel.is_quiet():
                return process
            self._ends["idle"] += 1
            self._all.discard(process)
            await process.end()
        process, _ = await self._start_process()
        return process

    async def _replace(self, process: DecoderProcess) -> None:
        """Return when the process is dead, because it may be writing into the region, and another one is idle."""
        self._all.discard(process)
        await process.end()
        if self._runs and len(self._all) < self._processes:
            with suppress(NotReady):  # the next task tries again
                self._idle.append((await self._start_process())[0])

    async def _start_process(self) -> tuple[DecoderProcess, DecoderReady]:
        if not self._runs:
            raise NotReady("the decoder is not running")
        process = DecoderProcess(self.confinement)
        self._all.add(process)
        try:
            return process, await process.ready()
        except BaseException:
            self._all.discard(process)
            await process.end()
            raise

    def _death(self, exit_code: int | None) -> Exception:
        """Count the death of a process during a task, and return the error that it means."""
        if exit_code is None:  # it lives and has closed its connection: a file has taken it over
            return Undecodable(BROKEN)
        end = exits.classify(exit_code)
        if end is Exit.TIME_LIMIT:
            return self._timeout()
        self._ends[exits.label(exit_code)] += 1
        return _Killed() if end is Exit.OUTSIDE else Undecodable(BROKEN)

    def _timeout(self) -> DecodeTimeout:
        self._ends["timeout"] += 1
        return DecodeTimeout(f"decoding took longer than the {self._timeout_s:g} s allowed")

    def facts(self) -> dict[str, Any]:
        """Return the counts of processes, running and waiting tasks, and process deaths by cause."""
        counts = {"processes": self._processes, "busy": self._busy, "waiting": self._waiting}
        return counts | {"ends": dict(self._ends)}


def _checked(result: Result, kind: type[Result]) -> Result:
    """Return the result of a decoder after a type check: a compromised decoder may send anything."""
    if not isinstance(result, kind):
        raise Undecodable(BROKEN)
    return result
