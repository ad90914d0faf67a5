"""Scan of a video in a separate process that may crash; windows arrive in slots while earlier ones are inferred.

this process                                decoder process
  offset of a free slot        ─────────▶   waits for one when a window is complete, writes the window there
  ScanStarted, ScanProgress,
  Window, Cut                  ◀─────────   then ScanFinished, or the error that ended the scan
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pickle import PicklingError

import numpy as np
from numpy.typing import NDArray

from app.errors import ClipstackError, DecodeTimeout, NotReady, Undecodable
from app.media.handles import reachable, region, region_bytes
from app.sandbox import SandboxConfig, confine, require_layers
from app.sandbox.exits import Exit, classify
from app.sandbox.process import ConfinedProcess
from app.shm.pool import SlotPool
from app.timeline.scan import (
    COMPARE_INTERVAL_S,
    Cut,
    Event,
    ScanProgress,
    ScanSpec,
    ScanStarted,
    ScanTask,
    Window,
    scan,
)
from app.timeline.windows import Windows

AHEAD = 2  # free slots that the decoder process holds in advance
NICE = 5  # decoders of uploads have priority
CRASHED = "the file is damaged so badly that it broke its decoder"


@dataclass(frozen=True, slots=True)
class ScanFinished:
    """End of a scan; `busy_s` is the time spent decoding, without the wait for slots."""

    busy_s: float


class _EventChecker:
    """Protocol check of a scan's events: the file may have taken over the process that sends them."""

    def __init__(self, spec: ScanSpec) -> None:
        self._spec, self._next_index = spec, spec.first
        self._windows: Windows | None = None
        self._cuts, self._cut_s = 0, float("-inf")

    def check(self, event: object) -> None:
        """Raise Undecodable for an event that no scan of this video sends in this state."""
        if not self._is_expected(event):
            raise Undecodable(CRASHED)

    def _is_expected(self, event: object) -> bool:
        spec, windows = self._spec, self._windows
        match event:
            case ScanStarted():
                self._windows = event.windows
                is_first = windows is None and event.windows.grid == spec.grid
                return (
                    is_first and 0 < event.windows.count <= spec.max_windows and min(event.duration_s, event.total) >= 0
                )
            case Window():
                self._next_index += 1
                is_next = windows is not None and event.index == self._next_index - 1 < windows.count
                return is_next and len(event.frames) == spec.grid.frames
            case Cut():
                if windows is None or event.time_s <= self._cut_s:
                    return False
                self._cuts, self._cut_s = self._cuts + 1, event.time_s
                end_s = windows.start_s(windows.count) + spec.grid.span_s
                return event.time_s <= end_s and self._cuts <= end_s / COMPARE_INTERVAL_S + 2
            case ScanProgress():
                return windows is not None
        return isinstance(event, ScanFinished | ClipstackError)


class Stream:
    """Events of one scan; the receiver of a Window releases its slot."""

    def __init__(self, process: ConfinedProcess, spec: ScanSpec, slots: SlotPool, patience_s: float) -> None:
        self._process, self._slots, self._patience_s = process, slots, patience_s
        self._checker = _EventChecker(spec)
        self.free_offsets: deque[int] = deque()
        self.busy_s = 0.0

    async def events(self) -> AsyncIterator[tuple[Event, int]]:
        """Yield the scan's events with the offset of the slot for a Window, -1 for all others.

        Raises:
            Undecodable: The file is damaged, or its decoder crashed.
            LimitExceeded: The video is too long, or has too many windows.
            DecodeTimeout: No event arrived for `patience_s` seconds.
            NotReady: Something outside ended the decoder.
        """
        while True:
            while len(self.free_offsets) < AHEAD:
                self._send_slot(*await self._slots.acquire(1))
            event = await self._next()
            self._checker.check(event)
            if isinstance(event, ClipstackError):
                raise event
            if isinstance(event, ScanFinished):
                self.busy_s = event.busy_s
                return
            yield event, self.free_offsets.popleft() if isinstance(event, Window) else -1

    def _send_slot(self, offset: int) -> None:
        self.free_offsets.append(offset)
        with suppress(OSError):  # the process has ended; `_next` reports how
            self._process.channel.send(offset)

    async def _next(self) -> Event | ScanFinished | ClipstackError:
        try:
            async with asyncio.timeout(self._patience_s):
                event: Event | ScanFinished | ClipstackError = await self._process.channel.receive()
        except TimeoutError:
            raise DecodeTimeout(f"no frame could be decoded within {self._patience_s:g} s") from None
        except (EOFError, OSError):
            raise await self._exit_error() from None
        except PicklingError:
            raise Undecodable(CRASHED) from None
        return event

    async def _exit_error(self) -> ClipstackError:
        exit_code = await self._process.exit_code()
        if exit_code is None or classify(exit_code) is not Exit.OUTSIDE:
            return Undecodable(CRASHED)
        return NotReady("the decoder was killed from outside, perhaps because memory ran out; please try again")


@asynccontextmanager
async def open_stream(
    task: ScanTask, slots: SlotPool, patience_s: float, confinement: SandboxConfig
) -> AsyncIterator[Stream]:
    """Run a scan in a new process for the block; then it is dead, and the slots that it did not fill are free."""
    confinement.admit(task.source.path)
    process = ConfinedProcess(_run_scan, confinement, task, str(slots.path), name="sweep")
    stream = Stream(process, task.spec, slots, patience_s)
    try:
        await process.start()
        yield stream
    finally:
        await process.end()
        for offset in stream.free_offsets:
            slots.release(offset)


def _run_scan(connection: Connection, confinement: SandboxConfig, task: ScanTask, slots: str) -> None:
    """Run the scan in the decoder process and send its events."""
    os.nice(NICE)
    confine(confinement)
    spec, shape = task.spec, (task.spec.grid.frames, task.spec.crop, task.spec.crop, 3)
    last_offset = region_bytes(slots) - int(np.prod(shape))
    started, waited_s = time.monotonic(), 0.0

    def next_slot() -> NDArray[np.uint8]:
        nonlocal waited_s
        wait_started = time.monotonic()
        offset = connection.recv()
        waited_s += time.monotonic() - wait_started
        if not 0 <= offset <= last_offset:
            raise ValueError("a window lies outside the region")
        return np.memmap(region(slots), np.uint8, "r+", offset, shape)

    try:
        require_layers()
        for event in scan(reachable(task.source), task.media, spec, next_slot):
            connection.send(event)
        connection.send(ScanFinished(time.monotonic() - started - waited_s))
    except ClipstackError as error:
        connection.send(error)
