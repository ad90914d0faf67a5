"""Slots whose region has a twin on a GPU: decoders write into the host's, one copy brings a clip to the device's.

The host's region is the one of app/slots.py, locked in its place, so that CUDA copies from it without the processor;
decoder processes see a file in /dev/shm, and the twin only where they decode on the GPU: what they write there is
copied to the host if somebody wants to see it. The device's region has the same layout, is one allocation for the whole
worker, and is registered with Triton once, by its IPC handle; its memory goes with this process, however that ends, as
soon as Triton has been told to close it (by us, or by the reaper).
"""

import asyncio
import logging
import time
from collections.abc import Callable

from app.cuda_runtime import CudaError, CudaRuntime, RealCuda
from app.slots import DEVICE_SUFFIX, RegionError, SlotPool

# A handle opens the whole block that an allocation lies in: only one of whole 2 MiB has a block of its own, and so
# offset 0 in the other process too (CUDA C++ programming guide, interprocess communication).
BLOCK_BYTES = 2 << 20
SPIN_S = 0.0005  # a clip of 2.4 MB takes a tenth of this; meanwhile the loop goes round, beyond it it sleeps
POLL_S = 0.0002
COPY_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class DeviceRegion:
    """The twin on the GPU of the `size` bytes of host memory at `source`; raises CudaError, leaving nothing behind."""

    def __init__(self, region: str, source: int, size: int, slot_bytes: int, runtime: CudaRuntime) -> None:
        self.name, self.device = region + DEVICE_SUFFIX, runtime.device
        self.region_bytes = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        self.lent = False  # whether Triton may have it open; freed under it, it would be undefined what Triton reads
        self._runtime, self._source, self._slot_bytes = runtime, source, slot_bytes
        self._address: int | None = None
        self._pinned = False
        self._written: dict[
            int, bool
        ] = {}  # slots with a clip that was made on the GPU; whether it was copied to the host
        try:
            self._address = runtime.allocate(self.region_bytes)
            self.handle = runtime.handle(self._address)
            runtime.pin(source, size)
            self._pinned = True
            self._events = [runtime.event() for _ in range(size // slot_bytes)]
        except CudaError:
            self.close()
            raise

    async def upload(self, offset: int, count: int) -> None:
        """Brings the first `count` bytes of the slot at `offset` to the GPU; they are there when this returns.

        CudaError when they are not. A copy cannot be recalled, and one that nobody waits for any more does no harm:
        the next into the same slot comes after it.
        """
        assert self._address is not None
        if offset not in self._written:
            await self._copied(self._address + offset, self._source + offset, count, offset)

    async def download(self, offset: int, count: int) -> None:
        """Brings a clip that was made on the GPU to the host, unless it is there; CudaError when it is not."""
        assert self._address is not None
        if self._written.get(offset, True):
            return
        await self._copied(self._source + offset, self._address + offset, count, offset)
        self._written[offset] = True

    def written(self, offset: int, on_gpu: bool) -> None:
        """Says where the clip in the slot at `offset` was written last; on the host unless this was called."""
        self._written.pop(offset, None)
        if on_gpu:
            self._written[offset] = False

    async def _copied(self, target: int, source: int, count: int, offset: int) -> None:
        event, begun = self._events[offset // self._slot_bytes], time.monotonic()
        self._runtime.copy(target, source, count, event)
        while not self._runtime.over(event):
            waited = time.monotonic() - begun
            if waited > COPY_TIMEOUT_S:
                raise CudaError(f"a copy was not over after {COPY_TIMEOUT_S:g} s")
            await asyncio.sleep(0 if waited < SPIN_S else POLL_S)

    def close(self) -> None:
        """Gives everything back; the device's memory stays until this process ends while Triton may read it."""
        steps: list[Callable[[], None]] = []
        if self._pinned:
            steps.append(lambda: self._runtime.unpin(self._source))
        if self._address is not None and not self.lent:
            address = self._address
            steps.append(lambda: self._runtime.free(address))
        self._pinned, self._address = False, None
        for step in (*steps, self._runtime.close):
            try:
                step()
            except CudaError as error:  # a GPU that was lost gives everything back by itself
                log.info("not given back to the GPU: %s", error)


class CudaSlotPool(SlotPool):
    """A SlotPool with a twin on a GPU in `device`; raises CudaError when there can be none, RegionError as SlotPool."""

    device: DeviceRegion

    def __init__(self, count: int, slot_bytes: int, runtime: CudaRuntime) -> None:
        super().__init__(count, slot_bytes)
        try:
            source = self.view(0, (1,)).ctypes.data
            self.device = DeviceRegion(self.name, source, self.region_bytes, slot_bytes, runtime)
        except BaseException:
            super().close()
            raise

    def release(self, offset: int) -> None:
        self.device.written(offset, on_gpu=False)
        super().release(offset)

    def close(self) -> None:
        self.device.close()  # first: CUDA has the host's pages locked
        super().close()


def open_pool(
    transport: str, count: int, slot_bytes: int, gpu: int | None, cuda: Callable[[int], CudaRuntime] = RealCuda
) -> SlotPool:
    """The pool for a worker of the GPU with CUDA's number `gpu`, None where there is none to use.

    `auto` takes system shared memory where CUDA's cannot be had, and says why; `cuda` raises RegionError then.
    """
    if transport == "cuda" and gpu is None:
        raise RegionError("CLIPSTACK_TRANSPORT is cuda, and there is no GPU here that can be used")
    if transport not in ("auto", "cuda") or gpu is None:
        return SlotPool(count, slot_bytes)
    try:
        pool = CudaSlotPool(count, slot_bytes, cuda(gpu))
    except CudaError as error:
        if transport == "cuda":
            raise RegionError(f"CLIPSTACK_TRANSPORT is cuda, and GPU {gpu} cannot hold the slots: {error}") from error
        log.warning("no slots on GPU %d, clips go through system shared memory: %s", gpu, error)
        return SlotPool(count, slot_bytes)
    log.info("%d MiB of slots on GPU %d", pool.device.region_bytes >> 20, gpu)
    return pool
