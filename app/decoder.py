"""Decodes in processes that may die: a hostile file ends its own process, never the service.

Each task runs in one of a few disposable processes under limits on memory, processor time and file size. They
are forked from a small server process that has loaded the decoders and nothing else, so that a new one is
ready in milliseconds, and write pixels into the shared region themselves: only facts cross the boundary.
"""

import asyncio
import math
import os
import resource
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TypeVar, cast

from pebble import ProcessExpired, ProcessPool

from app import gpu_decoding, pictures, video
from app.confinement import confine, forkserver
from app.errors import DecodeTimeout, NotReady, Undecodable
from app.formats import HEAD_BYTES, sniff
from app.gpu_decoding import GpuSlots, NotOnGpu
from app.media import ClipRequest, Decoded, Limits, Media, Source

Result = TypeVar("Result")

MAX_TASKS = 500  # a process is replaced after this many: FFmpeg leaks a little with damaged files
MEMORY_BYTES = 4 << 30  # address space; a frame of 36 Mpx with 16 reference frames needs about 1 GiB
START_TIMEOUT_S = 30.0
LOST_AFTER_S = 5.0  # beyond its time limit a task that has not been reported back is lost
POLL_S = 0.01


class Decoder:
    """A pool of `processes` decoder processes; made after fork, used from one event loop.

    `timeout_s` is the longest that probing or decoding one file may take, waiting for a process not included. With
    `gpu` each process has a context there too, and videos can be decoded into those slots.
    """

    def __init__(
        self, processes: int, timeout_s: float, limits: Limits, *,
        memory_bytes: int = MEMORY_BYTES, gpu: GpuSlots | None = None,
    ) -> None:  # fmt: skip
        self._processes, self._timeout_s, self._limits = processes, timeout_s, limits
        self._memory_bytes, self._gpu = memory_bytes, gpu
        self._free = asyncio.Semaphore(processes)
        self._pool: ProcessPool | None = None

    def start(self) -> None:
        """Start the processes; returns when the first one answers, raises when none can be started.

        NotOnGpu when they are to decode on a GPU and cannot.
        """
        self._pool = self._new_pool()
        self._pool.schedule(os.getpid).result(START_TIMEOUT_S)
        if self._gpu is not None and (reason := self._pool.schedule(gpu_decoding.why_not).result(START_TIMEOUT_S)):
            self.stop()
            raise NotOnGpu(f"CLIPSTACK_DECODER_DEVICE is cuda, and no video can be decoded there: {reason}")

    def stop(self) -> None:
        """End the processes, whatever they do; safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            _end(pool)

    async def probe(self, source: Source) -> Media:
        """Tell what a file is.

        Raises UnsupportedMedia, NoVideoStream, LimitExceeded, Undecodable, DecodeTimeout, NotReady.
        """
        return await self._run(probe, source, self._limits)

    async def decode(self, source: Source, media: Media, request: ClipRequest) -> Decoded:
        """Write the wanted clips into the region; raises as `probe` does.

        When this returns or raises, also by cancelling, nothing writes into the region any more.
        """
        return await self._run(decode, source, media, request)

    async def _run(self, function: Callable[..., Result], *arguments: object) -> Result:
        async with self._free:  # a task never waits inside the pool, where nothing would limit its wait
            try:
                return await self._attempt(self._living(), function, arguments)
            except BrokenProcessPool:
                pass  # a process died idle, which breaks the pool and is no fault of this file
            try:
                return await self._attempt(self._living(), function, arguments)
            except BrokenProcessPool as error:
                raise NotReady("the decoder is starting again; please try again in a moment") from error

    async def _attempt(
        self, pool: ProcessPool, function: Callable[..., Result], arguments: tuple[object, ...]
    ) -> Result:
        task = pool.schedule(_limited, (self._timeout_s, function, *arguments), timeout=self._timeout_s)
        answer = asyncio.wrap_future(task)
        try:
            # Not `wait_for`, which would cancel the task by itself, and without waiting for its process to die.
            done, _ = await asyncio.wait([answer], timeout=self._timeout_s + LOST_AFTER_S)
        finally:
            await _ended(task)
            answer.cancel()
        try:
            if not done:
                raise TimeoutError("the pool lost the task")
            return cast(Result, answer.result())
        except (TimeoutError, ProcessExpired) as error:
            if isinstance(error, ProcessExpired) and error.exitcode != -signal.SIGXCPU:
                raise Undecodable("the file is damaged so badly that it broke its decoder") from error
            raise DecodeTimeout(f"decoding took longer than the {self._timeout_s:g} s allowed") from error

    def _living(self) -> ProcessPool:
        if self._pool is None:
            raise NotReady("the decoder is not running")
        if not self._pool.active:
            broken, self._pool = self._pool, self._new_pool()
            asyncio.get_running_loop().run_in_executor(None, _end, broken)
        return self._pool

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(self._processes, MAX_TASKS, confine, (self._memory_bytes, self._gpu), forkserver())


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


async def _ended(task: Future[Result]) -> None:
    """Cancel a task that still runs, and wait for its process to die: it may be writing into the region."""
    if task.done():
        return
    # A task cancelled before the pool hears that it runs counts as ended at once, but its process goes on.
    deadline = time.monotonic() + LOST_AFTER_S
    while not (task.running() or task.done()) and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
    if task.cancel():
        await asyncio.get_running_loop().run_in_executor(None, wait, [task], LOST_AFTER_S)


def probe(source: Source, limits: Limits) -> Media:
    """Tell what a file is, in this process."""
    part = pictures.probe if sniff(source.read(HEAD_BYTES)) == "image" else video.probe
    return part(source, limits)


def decode(source: Source, media: Media, request: ClipRequest) -> Decoded:
    """Write clips, in this process."""
    if media.kind == "image":
        return pictures.decode(source, media, request)
    if not request.on_gpu:
        return video.decode(source, media, request)
    try:
        gpu = gpu_decoding.here()
    except NotOnGpu as error:
        return replace(video.decode(source, media, request), not_on_gpu=str(error))
    return video.decode(source, media, request, gpu)


def _limited(timeout_s: float, function: Callable[..., Result], *arguments: object) -> Result:
    """Run a task with processor time for itself; the clock's limit, kept by the pool, usually comes first."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + 2 * timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    return function(*arguments)
