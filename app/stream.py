"""A sweep in a process of its own that may die: its windows arrive in slots while earlier ones are still inferred.

    this process                         decoder process
      offset of a free slot  ─────────▶   waits for one when a window is complete, writes it there
      Window, Cut, End       ◀─────────   or the error that ended the sweep
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.confinement import confine
from app.errors import ClipstackError, DecodeTimeout, Undecodable
from app.media import Media, Source
from app.slots import SlotPool
from app.sweep import Cut, End, Window, sweep
from app.timeline import Windows

AHEAD = 2  # windows that are decoded before the one being inferred is done
DEATH_S = 5.0


class Look(NamedTuple):
    """What the model looks at: windows from number `first` on, scaled to `resize` and cut to `crop` pixels."""

    placed: Windows
    first: int
    resize: int
    crop: int


class Stream:
    """The events of one sweep; with each Window comes the offset of its slot, which its receiver releases."""

    def __init__(self, connection: Connection, process: ForkServerProcess, slots: SlotPool, patience_s: float) -> None:
        self._connection, self._process, self._slots, self._patience_s = connection, process, slots, patience_s
        self.granted: deque[int] = deque()
        self._readable = asyncio.Event()

    async def events(self) -> AsyncIterator[tuple[Window, int] | tuple[Cut | End, None]]:
        """Raises Undecodable, LimitExceeded, DecodeTimeout when nothing came for `patience_s` seconds."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), self._readable.set)
        try:
            while True:
                while len(self.granted) < AHEAD:
                    self._grant(*await self._slots.acquire(1))
                event = await self._next()
                if isinstance(event, ClipstackError):
                    raise event
                if isinstance(event, Window):
                    yield event, self.granted.popleft()
                else:
                    yield event, None
                if isinstance(event, End):
                    return
        finally:
            loop.remove_reader(self._connection.fileno())

    def _grant(self, offset: int) -> None:
        self.granted.append(offset)
        try:
            self._connection.send(offset)
        except BrokenPipeError:
            pass  # it has ended: `_next` says how

    async def _next(self) -> Window | Cut | End | ClipstackError:
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while not self._connection.poll():
            self._readable.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._readable.wait()
            except TimeoutError:
                raise DecodeTimeout(f"no frame could be decoded for {self._patience_s:g} s") from None
        try:
            event: Window | Cut | End | ClipstackError = self._connection.recv()
        except EOFError:
            raise Undecodable("the file is damaged so badly that it broke its decoder") from None
        return event


@asynccontextmanager
async def streaming(
    source: Source, media: Media, look: Look, slots: SlotPool, patience_s: float, memory_bytes: int
) -> AsyncIterator[Stream]:
    """A sweep of `source`; when the block is left, its process is dead and slots that it did not fill are free."""
    context = get_context("forkserver")
    ours, theirs = context.Pipe()
    arguments = (theirs, memory_bytes, source, media, look, str(slots.path))
    process = context.Process(target=_send, args=arguments, name="sweep", daemon=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, process.start)
    theirs.close()
    stream = Stream(ours, process, slots, patience_s)
    try:
        yield stream
    finally:
        process.kill()
        await loop.run_in_executor(None, process.join, DEATH_S)
        ours.close()
        for offset in stream.granted:
            slots.release(offset)


def _send(connection: Connection, memory_bytes: int, source: Source, media: Media, look: Look, region: str) -> None:
    """The decoder process."""
    confine(memory_bytes)
    shape = (look.placed.frames, look.crop, look.crop, 3)
    room = os.stat(region).st_size - int(np.prod(shape))

    def place() -> NDArray[np.uint8]:
        offset = connection.recv()
        if not 0 <= offset <= room:
            raise ValueError("a window lies outside the region")
        return np.memmap(Path(region), np.uint8, "r+", offset, shape)

    try:
        for event in sweep(source, media, look.placed, look.first, look.resize, look.crop, place):
            connection.send(event)
    except ClipstackError as error:
        connection.send(error)


__all__ = ["AHEAD", "Look", "Stream", "streaming"]
