"""Shared-memory region of a worker, divided into slots that each carry one clip from the decoder to Triton.

`posix_fallocate` creates the region, so that a full /dev/shm is an error at startup instead of a SIGBUS later. The code
maps it directly, because Python's `SharedMemory` unlinks a region when any attached process ends (before 3.13). The
owner holds a lock on the region while it lives. Every process that sees the same memory can detect a dead owner, even
from another container, where process ids mean nothing.
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

from app.shm.cuda_region import DeviceRegion

SHM = Path("/dev/shm")
PREFIX = "clipstack"


class RegionError(Exception):
    """Error for a region that cannot be created; the message says how to fix it."""


class SlotPool:
    """Pool of `count` slots of `slot_bytes` each; the owner creates it after the fork, for one event loop."""

    device: DeviceRegion | None = None  # the region's mirror on a GPU

    def __init__(self, count: int, slot_bytes: int) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(8)}"
        self.path = SHM / self.name
        self.count, self.slot_bytes = count, slot_bytes
        self.region_bytes = count * slot_bytes
        self._free = [index * slot_bytes for index in reversed(range(count))]
        self._quarantined: set[int] = set()
        self._map = self._create()
        self._queue = asyncio.Lock()
        self._freed = asyncio.Event()

    def _create(self) -> mmap.mmap:
        """Create the region and name it last, so that nobody sees it without its memory or its lock."""
        self._descriptor = os.open(SHM, os.O_TMPFILE | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.posix_fallocate(self._descriptor, 0, self.region_bytes)
            mapping = mmap.mmap(self._descriptor, self.region_bytes)
            # Python follows the link to the file only if it gets a directory, which an absolute path ignores
            os.link(f"/proc/self/fd/{self._descriptor}", self.path, src_dir_fd=self._descriptor)
            return mapping
        except OSError as error:
            os.close(self._descriptor)
            raise RegionError(
                f"/dev/shm has no room for {self.region_bytes >> 20} MiB ({error.strerror}): "
                "make it larger, or lower CLIPSTACK_SLOTS or CLIPSTACK_WEB_WORKERS"
            ) from error

    @property
    def is_whole(self) -> bool:
        """Whether the region has its full size; any process with write access to /dev/shm could truncate it."""
        return os.fstat(self._descriptor).st_size == self.region_bytes

    @property
    def free(self) -> int:
        """Number of free slots."""
        return len(self._free)

    async def acquire(self, count: int) -> list[int]:
        """Wait for `count` slots, in order of arrival, and return their offsets in bytes into the region.

        All are granted at once: two requests that each hold half of what they need would deadlock.
        """
        async with self._queue:
            while len(self._free) < count:
                self._freed.clear()
                await self._freed.wait()
            return [self._free.pop() for _ in range(count)]

    def release(self, offset: int) -> None:
        """Return a slot to the pool; call it only when neither a decoder nor Triton can still use it."""
        self._quarantined.discard(offset)
        self._free.append(offset)
        self._freed.set()

    def quarantine(self, offset: int) -> None:
        """Record that only Triton still holds a slot, because its request is over."""
        self._quarantined.add(offset)

    def facts(self) -> dict[str, int]:
        """Return the number of slots in each state."""
        quarantined = len(self._quarantined)
        return {"free": self.free, "used": self.count - self.free - quarantined, "quarantined": quarantined}

    def view(self, offset: int, shape: Sequence[int]) -> NDArray[np.uint8]:
        """Return the slot's bytes as uint8 of `shape`, without a copy; valid until `close`."""
        count = int(np.prod(shape))
        return np.frombuffer(self._map, np.uint8, count, offset).reshape(shape)

    def close(self) -> None:
        """Unlink the region; its memory is freed when the last process that maps it ends."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def is_stale(name: str) -> bool:
    """Return whether `name` is a region whose owner is dead."""
    if not name.startswith(f"{PREFIX}-"):
        return False
    try:
        descriptor = os.open(SHM / name, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:  # another user's region
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def remove_stale_regions() -> list[str]:
    """Remove regions whose owner is dead and return their names."""
    removed = []
    for path in SHM.glob(f"{PREFIX}-*"):
        if is_stale(path.name):
            with suppress(PermissionError):
                path.unlink(missing_ok=True)
                removed.append(path.name)
    return removed
