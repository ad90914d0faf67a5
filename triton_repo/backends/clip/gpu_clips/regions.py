"""The web workers' regions on GPUs that one process of a model has open."""

import fcntl
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from .driver import HANDLE_BYTES, CudaDriver, DriverError

# IPC handle, name of the region, bytes of the region, offset of the clip, CUDA's number of the GPU, as
# app/shm/cuda_region.py writes them
REFERENCE = struct.Struct("<64s48sQQI")
NAME = re.compile(r"clipstack-\d+-[0-9a-f]{16}")  # of a region, and of its owner's file in /dev/shm
MOST_REGIONS = 64  # open at once; each belongs to one web worker
MOST_GPUS = 64
IDLE_S = 300.0  # a region that no request named for so long is closed
SWEEP_S = 2.0  # interval between two looks for regions of dead owners


class GpuClipError(Exception):
    """The clip of a reference cannot be read; the message says why."""


class Clip(NamedTuple):
    """A clip on the GPU with CUDA's number `device`, valid until the end of `in_use`."""

    device: int
    address: int


@dataclass
class _Region:
    name: str
    handle: bytes
    device: int
    address: int
    used_s: float


class GpuClips:
    """Cache of open regions.

    A region is closed when its owner is gone, when it was idle for IDLE_S, or when more than `most` are open. The owner
    of a region holds a lock on the file of the same name in /dev/shm while it lives; a new owner has a new name.

    Args:
        make_driver: Makes the driver at the first reference.
        most: How many regions stay open.
        is_alive: Whether the owner of the region with this name lives.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        make_driver: Callable[[], CudaDriver] = CudaDriver,
        most: int = MOST_REGIONS,
        is_alive: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_driver, self._most, self._clock = make_driver, most, clock
        self._is_alive = is_alive or owner_is_alive
        self._driver: CudaDriver | None = None
        self._regions: dict[str, _Region] = {}  # by name, the one used last at the end
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._sweeper: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._regions)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep every region open for a while; close those beyond `most` at the end."""
        with self._lock:
            try:
                yield
            finally:
                for region in list(self._regions.values())[: max(0, len(self._regions) - self._most)]:
                    self._close(region)

    def find(self, reference: bytes, size: int) -> Clip:
        """Return where the clip of `size` bytes is; opens its region unless it is open. Use inside `in_use`.

        Raises:
            GpuClipError: The reference is invalid, or its region cannot be opened.
        """
        handle, name, region_bytes, offset, device = _parse(reference, size)
        region = self._regions.get(name)
        if region is None or region.handle != handle:
            region = self._open(name, handle, device)
        region.used_s = self._clock()
        self._regions[name] = self._regions.pop(name)
        return Clip(region.device, region.address + offset)

    def sweep(self) -> None:
        """Close the regions of dead owners and those that were idle."""
        with self._lock:
            idle_since = self._clock() - IDLE_S
            for region in list(self._regions.values()):
                if region.used_s < idle_since or not self._is_alive(region.name):
                    self._close(region)

    def close(self) -> None:
        """Close all regions and end the sweeper."""
        self._ended.set()
        if self._sweeper is not None:
            self._sweeper.join(timeout=2 * SWEEP_S)
        with self._lock:
            for region in list(self._regions.values()):
                self._close(region)

    def _open(self, name: str, handle: bytes, device: int) -> _Region:
        # A handle may come again after the death of its owner: it must not find that one's memory
        for region in [region for region in self._regions.values() if name == region.name or handle == region.handle]:
            self._close(region)
        try:
            if self._driver is None:
                self._driver = self._make_driver()
            address = self._driver.open(device, handle)
        except DriverError as error:
            raise GpuClipError(f"region {name} on GPU {device} cannot be opened: {error}") from error
        self._regions[name] = region = _Region(name, handle, device, address, self._clock())
        if self._sweeper is None:
            self._sweeper = threading.Thread(target=self._sweep_regularly, name="gpu-clips", daemon=True)
            self._sweeper.start()
        return region

    def _close(self, region: _Region) -> None:
        del self._regions[region.name]
        try:
            assert self._driver is not None
            self._driver.close(region.device, region.address)
        except DriverError as error:
            print(f"gpu_clips: region {region.name} was not closed: {error}", file=sys.stderr, flush=True)

    def _sweep_regularly(self) -> None:
        while not self._ended.wait(SWEEP_S):
            self.sweep()


def _parse(reference: bytes, size: int) -> tuple[bytes, str, int, int, int]:
    """Return the fields of a reference; raise GpuClipError for one that no worker writes."""
    if len(reference) != REFERENCE.size:
        raise GpuClipError(f"a reference has {REFERENCE.size} bytes, not {len(reference)}")
    handle, padded, region_bytes, offset, device = REFERENCE.unpack(reference)
    name = padded.rstrip(b"\0").decode("ascii", "replace")
    if not NAME.fullmatch(name):
        raise GpuClipError(f"{name!r} is not the name of a region")
    if offset + size > region_bytes:
        raise GpuClipError(f"a clip of {size} bytes at {offset} is not inside a region of {region_bytes} bytes")
    if device >= MOST_GPUS:
        raise GpuClipError(f"there is no GPU {device}")
    assert len(handle) == HANDLE_BYTES
    return handle, name, region_bytes, offset, device


def owner_is_alive(name: str) -> bool:
    """Return whether somebody holds the lock on the region's file; True for a file of another user."""
    try:
        descriptor = os.open(f"/dev/shm/{name}", os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
