"""A worker's shared-memory region, cut into slots: each holds one clip on its way from the decoder to Triton.

The region is made with `posix_fallocate`, so that a full /dev/shm is an error at the start and never a SIGBUS
later, and mapped by hand: Python's own `SharedMemory` unlinks a region when any attached process ends (before 3.13).
Its owner holds a lock on it for as long as it lives, so that a region whose owner was killed is known as such by all
who see the same memory, other containers too, where a process's number says nothing.
"""

import asyncio
import fcntl
import mmap
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.shm.cuda_region import DEVICE_SUFFIX, DeviceRegion

SHM = Path("/dev/shm")
PREFIX = "clipstack"


class RegionError(Exception):
    """The region cannot be made; the message says how to mend it."""


class SlotPool:
    """`count` slots of `slot_bytes` each; made after fork, by the process that owns it, used from one event loop."""

    device: DeviceRegion | None = None  # the region's twin on a GPU

    def __init__(self, count: int, slot_bytes: int) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(8)}"
        self.path = SHM / self.name
        self.count, self.slot_bytes = count, slot_bytes
        self.region_bytes = count * slot_bytes
        self._free = [index * slot_bytes for index in reversed(range(count))]
        self._quarantined: set[int] = set()
        self._map = self._make()
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    def _make(self) -> mmap.mmap:
        """The region gets its name last: nobody sees it without its memory, or without its lock."""
        self._descriptor = os.open(SHM, os.O_TMPFILE | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.posix_fallocate(self._descriptor, 0, self.region_bytes)
            made = mmap.mmap(self._descriptor, self.region_bytes)
            # Python follows the link to the file only when it is given some folder, which an absolute path ignores
            os.link(f"/proc/self/fd/{self._descriptor}", self.path, src_dir_fd=self._descriptor)
            return made
        except OSError as error:
            os.close(self._descriptor)
            raise RegionError(
                f"/dev/shm has no room for {self.region_bytes >> 20} MiB ({error.strerror}): "
                "make it larger, or lower CLIPSTACK_SLOTS or CLIPSTACK_WEB_WORKERS"
            ) from error

    @property
    def whole(self) -> bool:
        """Whether the region has all its memory; whoever may write to /dev/shm could have cut it off."""
        return os.fstat(self._descriptor).st_size == self.region_bytes

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
        self._quarantined.discard(offset)
        self._free.append(offset)
        self._freed.set()

    def quarantine(self, offset: int) -> None:
        """Takes note that a slot is held for Triton alone: its request is over."""
        self._quarantined.add(offset)

    def facts(self) -> dict[str, int]:
        """How many slots are in each state."""
        quarantined = len(self._quarantined)
        return {"free": self.free, "used": self.count - self.free - quarantined, "quarantined": quarantined}

    def view(self, offset: int, shape: Sequence[int]) -> NDArray[np.uint8]:
        """The slot's bytes as uint8 of `shape`, without a copy; valid until `close`."""
        count = int(np.prod(shape))
        return np.frombuffer(self._map, np.uint8, count, offset).reshape(shape)

    def close(self) -> None:
        """Removes the region's name; the memory goes when the last process that has it mapped is gone."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def is_stale(name: str) -> bool:
    """Whether `name` is that of a worker's region, or of its twin on a GPU, whose owner is gone."""
    if not name.startswith(f"{PREFIX}-"):
        return False
    name = name.removesuffix(DEVICE_SUFFIX)
    try:
        descriptor = os.open(SHM / name, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:  # another user's: theirs to remove
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def remove_stale_regions() -> list[str]:
    """Removes the regions whose owner is gone, and returns their names."""
    removed = []
    for path in SHM.glob(f"{PREFIX}-*"):
        if is_stale(path.name):
            with suppress(PermissionError):
                path.unlink(missing_ok=True)
                removed.append(path.name)
    return removed
