"""Mirror of a worker's region on a GPU, which the models' processes open through its IPC handle.

It has the same layout and is one allocation per worker. A request names a clip in it by a reference: the handle, the
region and the offset (triton_repo/backends/clip/gpu_clips). Its memory is freed when this process has ended in any way
and the models' processes have closed it, which they do soon after the region's owner is gone.
"""

import asyncio
import logging
import struct
import time
from collections.abc import Callable

from app.shm.cuda_runtime import CudaError, CudaRuntime

INPUT = "GPU_CLIP"  # input of models that take references to clips on a GPU
# A reference: IPC handle, name of the region, bytes of the region, offset of the clip, CUDA's number of the GPU. The
# backend `clip` reads the same layout.
REFERENCE = struct.Struct("<64s48sQQI")
# A handle opens the whole block of an allocation. Only an allocation of whole 2 MiB has a block of its own, and so
# offset 0 in the other process too (CUDA C++ programming guide, interprocess communication).
BLOCK_BYTES = 2 << 20
BUSY_WAIT_S = 0.0005  # busy-wait time: a clip of 2.4 MB needs a tenth of it; longer copies are polled
POLL_S = 0.0002
COPY_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class DeviceRegion:
    """Mirror on the GPU of the `size` bytes of host memory at the address `source`.

    Raises CudaError after releasing everything.
    """

    def __init__(self, region: str, source: int, size: int, slot_bytes: int, runtime: CudaRuntime) -> None:
        self.region, self.device = region, runtime.device
        self.region_bytes = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        self.is_shared = False  # whether a model may have it open; freeing it then would be undefined behaviour
        self._runtime, self._source, self._slot_bytes = runtime, source, slot_bytes
        self._address: int | None = None
        self._pinned = False
        # Slots with a clip made on the GPU, and whether it was copied to the host
        self._gpu_clips: dict[int, bool] = {}
        try:
            self._address = runtime.allocate(self.region_bytes)
            self.handle = runtime.handle(self._address)
            runtime.pin(source, size)
            self._pinned = True
            self._events = [runtime.event() for _ in range(size // slot_bytes)]
        except CudaError:
            self.close()
            raise

    def reference(self, offset: int) -> bytes:
        """Return the bytes that tell a model where the clip in the slot at `offset` is."""
        self.is_shared = True
        return REFERENCE.pack(self.handle, self.region.encode(), self.region_bytes, offset, self.device)

    async def upload(self, offset: int, count: int) -> None:
        """Copy the first `count` bytes of the slot at `offset` to the GPU and wait for the end; raise CudaError.

        A copy cannot be cancelled. One that nobody awaits is harmless: the next copy to the slot runs after it.
        """
        assert self._address is not None
        if offset not in self._gpu_clips:
            await self._copy(self._address + offset, self._source + offset, count, offset)

    async def download(self, offset: int, count: int) -> None:
        """Copy a clip made on the GPU to the host, unless it is there already; raise CudaError on failure."""
        assert self._address is not None
        if self._gpu_clips.get(offset, True):
            return
        await self._copy(self._source + offset, self._address + offset, count, offset)
        self._gpu_clips[offset] = True

    def mark_written(self, offset: int, on_gpu: bool) -> None:
        """Record where the clip in the slot at `offset` was last written; the default is the host."""
        self._gpu_clips.pop(offset, None)
        if on_gpu:
            self._gpu_clips[offset] = False

    async def _copy(self, target: int, source: int, count: int, offset: int) -> None:
        event, started = self._events[offset // self._slot_bytes], time.monotonic()
        self._runtime.copy(target, source, count, event)
        while not self._runtime.is_complete(event):
            elapsed = time.monotonic() - started
            if elapsed > COPY_TIMEOUT_S:
                raise CudaError(f"a copy did not finish within {COPY_TIMEOUT_S:g} s")
            await asyncio.sleep(0 if elapsed < BUSY_WAIT_S else POLL_S)

    def close(self) -> None:
        """Release everything; device memory stays until this process ends if a model may read it."""
        steps: list[Callable[[], None]] = []
        if self._pinned:
            steps.append(lambda: self._runtime.unpin(self._source))
        if self._address is not None and not self.is_shared:
            address = self._address
            steps.append(lambda: self._runtime.free(address))
        self._pinned, self._address = False, None
        for step in (*steps, self._runtime.close):
            try:
                step()
            except CudaError as error:  # a lost GPU releases everything by itself
                log.info("not given back to the GPU: %s", error)
