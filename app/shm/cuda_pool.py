"""Slots whose region has a twin on a GPU: decoders write into the host's, one copy brings a clip to the device's.

The host's region is the one of app/shm/pool.py, locked in its place, so that CUDA copies from it without the processor;
decoder processes see a file in /dev/shm, and the twin (app/shm/cuda_region.py) only where they decode on the GPU: what
they write there is copied to the host if somebody wants to see it.
"""

import logging
from collections.abc import Callable

from app.shm.cuda_region import DeviceRegion
from app.shm.cuda_runtime import CudaBindings, CudaError, CudaRuntime
from app.shm.pool import RegionError, SlotPool

log = logging.getLogger(__name__)


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
    transport: str, count: int, slot_bytes: int, gpu: int | None, cuda: Callable[[int], CudaRuntime] = CudaBindings
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
