"""What one worker does beside requests: it gets ready for the first one by a film of its own, and tidies up."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.admission.backlog_flag import BacklogFlag
from app.admission.controller import Admission
from app.admission.reject_flags import RejectFlags
from app.errors import ClipstackError
from app.inference.client import Triton, TritonUnavailable
from app.inference.registry import ModelRegistry
from app.inference.retry import TritonOutage
from app.pipeline import leftovers
from app.pipeline.readiness import Facts, WorkerRegistry
from app.pipeline.upload_guard import UploadGuard
from app.shm.pool import SlotPool, is_stale

HOUSEKEEPING_S = 2.0  # a model that was added is known to every worker after so long
COLD_S, FIRST_S = 0.25, 60.0  # the same at first, until a clip of our own was answered
LEFTOVERS_S = 20.0  # between two removals of what killed processes left
SETTLE_S = 8.0  # less than gunicorn waits for a sign of life (deploy/gunicorn/config.py)

log = logging.getLogger(__name__)


class StartupStatus:
    """How far one worker is on the way to its first answer; its crew, where it has one, hears of each step."""

    def __init__(self, crew: WorkerRegistry | None) -> None:
        self._crew = crew
        self.facts = Facts()

    def tell(self, **facts: Any) -> None:
        """Takes note of what has changed, and lets the other workers know."""
        self.facts = replace(self.facts, **facts)
        if self._crew is not None:
            self._crew.tell(self.facts)

    def leave(self) -> None:
        """This worker ends; safe to call twice."""
        if self._crew is not None:
            self._crew.leave()


@dataclass(slots=True)
class MaintenanceLoop:
    """Of one worker, in its event loop: does ahead what requests would otherwise wait for, and tidies up."""

    slots: SlotPool
    triton: Triton
    catalogue: ModelRegistry
    absence: TritonOutage
    admission: Admission
    backlog: BacklogFlag
    shut: RejectFlags
    progress: StartupStatus
    rehearse: Callable[[], Awaitable[None]] | None  # sends a film of our own the way of uploads; None: nobody is to
    offered: bool  # whether the region was offered to Triton, or needs not be
    guard: UploadGuard | None = None  # None: no uploads come here
    uploads: Path | None = None  # folder in which killed processes leave files; None: nothing is removed
    triton_answers: bool = field(default=False, init=False)
    _task: asyncio.Future[None] | None = field(default=None, init=False)
    _next_removal_s: float = field(default=0.0, init=False)

    async def begin(self) -> None:
        """Returns when a clip of our own was answered, or could not be just now, Triton being away for one."""
        looked = asyncio.Event()
        self._task = asyncio.ensure_future(self._keep(looked))
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await looked.wait()

    async def end(self) -> None:
        """Safe to call when it has not begun."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self, looked: asyncio.Event) -> None:
        """For as long as the worker lives; sets `looked` when all was done once, or could not be."""
        began = time.monotonic()
        while True:
            if not self.slots.whole:
                # Its memory would be zeros again, which nobody could tell from a clip: not to be mended in place.
                log.critical("somebody has cut off %s: this process ends, another takes its place", self.slots.path)
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                await self._look()
            except ClipstackError as error:
                self.triton_answers = False
                if isinstance(error, TritonUnavailable):
                    self.absence.noticed()
                    self.progress.tell(triton=False)
                log.debug("Triton does not answer: %s", error)
            except Exception:
                log.exception("housekeeping goes on after a mistake")
            looked.set()
            self.backlog.tell(self.admission.backlog_s())
            self.shut.tidy()
            if self.guard is not None:
                await asyncio.get_running_loop().run_in_executor(None, self.guard.look)
            await self._remove_leftovers()
            cold = self.progress.facts.clip and time.monotonic() < began + FIRST_S
            await asyncio.sleep(COLD_S if cold else HOUSEKEEPING_S)

    async def _remove_leftovers(self) -> None:
        """Remove what killed processes left, in a thread."""
        if self.uploads is None or time.monotonic() < self._next_removal_s:
            return
        self._next_removal_s = time.monotonic() + LEFTOVERS_S
        try:
            removed = await asyncio.get_running_loop().run_in_executor(None, leftovers.remove_all, self.uploads)
        except OSError:
            log.exception("what killed processes left could not be removed")
            return
        if removed:
            log.info("removed %d temporary files that killed processes had left", removed)

    async def _look(self) -> None:
        """What needs Triton; raises ClipstackError where it does not answer."""
        await self.catalogue.refresh()
        self.triton_answers = True
        self.progress.tell(triton=True)
        self.absence.over()
        if not self.offered:
            await self.triton.register()
            self.offered = True  # once: where it is refused, requests find out when to offer it again
        self.progress.tell(region=True)
        await self._rehearsed()
        # A killed worker could not take its region back, and Triton would keep that memory mapped.
        for name in filter(is_stale, await self.triton.regions()):
            await self.triton.forget(name)

    async def _rehearsed(self) -> None:
        """Once a worker: has a film of our own go the way of uploads, so that no upload is the first."""
        if not self.progress.facts.clip:
            return
        try:
            if self.rehearse is not None:
                await self.rehearse()
        except ClipstackError as error:
            # Uploads that were answered have done the same
            if not self.triton.transports.clips.total():
                self.progress.tell(clip=f"a clip of its own was not answered: {error}")
                return
        self.progress.tell(clip="")
