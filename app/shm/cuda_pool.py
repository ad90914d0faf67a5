"""Slot pool with a mirror on a GPU: decoders write to host memory, and one copy brings a clip to the device.

The host region is page-locked, so that CUDA copies from it without the processor. Only decoders on the GPU see the
mirror (app/shm/cuda_region.py); clips that they write are copied to the host when something reads them there.
"""

import logging
from collections.abc import Callable

from app.shm.cuda_region import DeviceRegion
from app.shm.cuda_runtime import CudaError, CudaRuntime
from app.shm.pool import RegionError, SlotPool

log = logging.getLogger(__name__)


class CudaSlotPool(SlotPool):
    """Slot pool with a mirror on a GPU in `device`; raises CudaError or RegionError if one cannot be created."""

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
        """Return a slot to the pool and forget where its clip was written."""
        self.device.mark_written(offset, on_gpu=False)
        super().release(offset)

    def close(self) -> None:
        """Release the mirror and the host region."""
        self.device.close()  # first: CUDA has the host pages locked
        super().close()


def open_pool(
    transport: str, count: int, slot_bytes: int, gpu: int | None, cuda: Callable[[int], CudaRuntime] = CudaRuntime
) -> SlotPool:
    """Return the slot pool of a worker.

    `transport` is CLIPSTACK_TRANSPORT: `auto` falls back to system shared memory and logs why, `cuda` raises
    RegionError. `gpu` is CUDA's number of the GPU, None if no GPU is usable.
    """
    if transport == "cuda" and gpu is None:
        raise RegionError("CLIPSTACK_TRANSPORT=cuda needs a GPU, and none can be used: set auto, shm or inline")
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
