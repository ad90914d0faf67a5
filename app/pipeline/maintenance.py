"""Background maintenance of one worker: warm-up before the first request, regular checks and clean-up."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.admission.controller import Admission
from app.admission.flags import BacklogFlag, RejectFlags
from app.errors import ClipstackError
from app.inference.client import Triton
from app.inference.registry import ModelRegistry
from app.inference.retry import TritonOutage
from app.inference.triton_errors import TritonUnavailable
from app.pipeline import leftovers
from app.pipeline.readiness import WorkerRegistry
from app.pipeline.upload_guard import UploadGuard
from app.shm.pool import SlotPool, is_stale
from app.uploads.resumable import ResumableStore

INTERVAL_S = 2.0  # interval of the loop; every worker sees a new model within this time
COLD_S, FIRST_S = 0.05, 60.0  # interval until the warm-up clip succeeds, for at most FIRST_S after the start
LEFTOVERS_S = 20.0  # interval between two removals of leftover files
SETTLE_S = 8.0  # below gunicorn's worker timeout (deploy/gunicorn/config.py)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class MaintenanceLoop:
    """Maintenance loop of one worker, on its event loop.

    It does work ahead that requests would otherwise wait for, and cleans up.
    """

    slots: SlotPool
    triton: Triton
    catalogue: ModelRegistry
    outage: TritonOutage
    admission: Admission
    backlog: BacklogFlag
    reject_flags: RejectFlags
    registry: WorkerRegistry
    rehearse: Callable[[], Awaitable[None]] | None  # classifies a warm-up video; None for no warm-up
    region_offered: bool  # whether the region was registered with Triton, or does not need to be
    guard: UploadGuard | None = None  # None: this process receives no uploads
    uploads: Path | None = None  # folder to clear of leftover files; None: no clean-up
    resumable: ResumableStore | None = None  # uploads that expire; None: another process removes them
    triton_answers: bool = field(default=False, init=False)
    _task: asyncio.Future[None] | None = field(default=None, init=False)
    _next_removal_s: float = field(default=0.0, init=False)

    async def begin(self) -> None:
        """Start the loop and wait for its first round, for at most SETTLE_S; the warm-up may have failed by then."""
        first_round = asyncio.Event()
        self._task = asyncio.ensure_future(self._loop(first_round))
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await first_round.wait()

    async def end(self) -> None:
        """Stop the loop. Safe to call when it has not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _loop(self, first_round: asyncio.Event) -> None:
        """Run the loop; set `first_round` after the first round, whether or not it succeeded."""
        began = time.monotonic()
        while True:
            if not self.slots.is_whole:
                # The truncated memory would read as zeros, like a black clip, so the process cannot go on.
                log.critical("somebody has cut off %s: this process ends, another takes its place", self.slots.path)
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                await self._check_triton()
            except ClipstackError as error:
                self.triton_answers = False
                if isinstance(error, TritonUnavailable):
                    self.outage.record_failure()
                    self.registry.update(triton=False)
                log.debug("Triton does not answer: %s", error)
            except Exception:
                log.exception("housekeeping goes on after a mistake")
            first_round.set()
            self.backlog.publish(self.admission.backlog_s())
            self.reject_flags.remove_stale()
            if self.guard is not None:
                await asyncio.get_running_loop().run_in_executor(None, self.guard.check)
            await self._remove_leftovers()
            cold = self.registry.status.clip and time.monotonic() < began + FIRST_S
            await asyncio.sleep(COLD_S if cold else INTERVAL_S)

    async def _remove_leftovers(self) -> None:
        """Remove leftover files of killed processes, in a thread, every LEFTOVERS_S."""
        if self.uploads is None or time.monotonic() < self._next_removal_s:
            return
        self._next_removal_s = time.monotonic() + LEFTOVERS_S
        try:
            removed = await asyncio.get_running_loop().run_in_executor(None, leftovers.remove_all, self.uploads)
            await self._remove_expired()
        except OSError:
            log.exception("what killed processes left could not be removed")
            return
        if removed:
            log.info("removed %d temporary files that killed processes had left", removed)

    async def _remove_expired(self) -> None:
        """Remove resumable uploads that nobody continued or used."""
        if self.resumable is None:
            return
        if removed := await asyncio.get_running_loop().run_in_executor(None, self.resumable.remove_expired):
            log.info("removed %d resumable uploads that had expired", removed)

    async def _check_triton(self) -> None:
        """Do the maintenance that needs Triton; raise ClipstackError when it does not answer."""
        await self.catalogue.refresh()
        self.triton_answers = True
        self.registry.update(triton=True)
        self.outage.record_success()
        if not self.region_offered:
            await self.triton.regions.register()
            self.region_offered = True  # once: after a refusal, requests decide when to register it again
        self.registry.update(region=True)
        await self._warm_up()
        # Triton keeps the regions of killed workers mapped until they are unregistered.
        for name in filter(is_stale, await self.triton.regions.names()):
            await self.triton.regions.unregister(name)

    async def _warm_up(self) -> None:
        """Classify the warm-up video until it succeeds once, so that no upload is the first request."""
        if not self.registry.status.clip:
            return
        try:
            if self.rehearse is not None:
                await self.rehearse()
        except ClipstackError as error:
            # An upload that was answered warms the worker up too
            if not self.triton.transports.clips.total():
                self.registry.update(clip=f"a clip of its own was not answered: {error}")
                return
        self.registry.update(clip="")
