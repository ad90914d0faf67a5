"""A worker's shared-memory region, cut into slots: each holds one clip on its way from the decoder to Triton.

The region is made with `posix_fallocate`, so that a full /dev/shm is an error at the start and never a SIGBUS
later, and mapped by hand: Python's own `SharedMemory` unlinks a region when any attached process ends (before 3.13).
"""

import asyncio
import mmap
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHM = Path("/dev/shm")
PREFIX = "clipstack"
_NAME = re.compile(rf"{PREFIX}-(\d+)-[0-9a-f]+")


class RegionError(Exception):
    """The region cannot be made; the message says how to mend it."""


class SlotPool:
    """`count` slots of `slot_bytes` each; made after fork, by the process that owns it, used from one event loop."""

    def __init__(self, count: int, slot_bytes: int) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(8)}"
        self.path = SHM / self.name
        self.slot_bytes = slot_bytes
        self.region_bytes = count * slot_bytes
        self._free = [index * slot_bytes for index in reversed(range(count))]
        self._map = self._make()
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    def _make(self) -> mmap.mmap:
        descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.region_bytes)
            return mmap.mmap(descriptor, self.region_bytes)
        except OSError as error:
            os.unlink(self.path)
            raise RegionError(
                f"/dev/shm has no room for {self.region_bytes >> 20} MiB ({error.strerror}): "
                "make it larger, or lower CLIPSTACK_SLOTS or CLIPSTACK_WEB_WORKERS"
            ) from error
        finally:
            os.close(descriptor)

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return len(self._free)

    async def acquire(self, count: int) -> list[int]:
        """Waits for `count` slots, first come first served, and returns their offsets (bytes into the region).

        All are given at once: two requests that each hold half of what they need would wait for each other forever.
        """
        async with self._turn:
            while len(self._free) < count:
                self._freed.clear()
                await self._freed.wait()
            return [self._free.pop() for _ in range(count)]

    def release(self, offset: int) -> None:
        """Gives one slot back; only when neither a decoder nor Triton can still use it."""
        self._free.append(offset)
        self._freed.set()

    def view(self, offset: int, shape: Sequence[int]) -> NDArray[np.uint8]:
        """The slot's bytes as uint8 of `shape`, without a copy; valid until `close`."""
        count = int(np.prod(shape))
        return np.frombuffer(self._map, np.uint8, count, offset).reshape(shape)

    def close(self) -> None:
        """Removes the region's name; the memory goes when the last process that has it mapped is gone."""
        self.path.unlink(missing_ok=True)


def is_stale(name: str) -> bool:
    """Whether `name` is that of a worker's region whose process is dead."""
    match = _NAME.fullmatch(name)
    return match is not None and not Path("/proc", match[1]).exists()


def remove_stale_regions() -> list[str]:
    """Removes the regions whose process is dead, and returns their names."""
    removed = []
    for path in SHM.glob(f"{PREFIX}-*"):
        if is_stale(path.name):
            with suppress(PermissionError):  # another user's: theirs to remove
                path.unlink(missing_ok=True)
                removed.append(path.name)
    return removed
