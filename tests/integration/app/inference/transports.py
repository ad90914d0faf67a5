"""A slot pool on the fake GPU, connected to the fake Triton."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.inference.client import ClipInput, Triton
from app.shm.cuda_pool import CudaSlotPool
from tests.support.cuda_fake import FakeCuda
from tests.support.triton_fake import CLIP_BYTES, MODEL, FakeTriton, running_fake

CLIP = (1, 8, 8, 3)


class Worker:
    """A pool on the fake GPU and its connection to the fake Triton."""

    def __init__(self, fake: FakeTriton, cuda: FakeCuda, pool: CudaSlotPool, triton: Triton) -> None:
        self.fake, self.cuda, self.pool, self.triton = fake, cuda, pool, triton

    async def send(self, value: int) -> str:
        """Send a clip whose bytes are all `value`, check its score, and return the transport."""
        (offset,) = await self.pool.acquire(1)
        self.pool.view(offset, CLIP)[:] = value
        scores = await self.triton.infer(ClipInput(MODEL, "1", offset, CLIP))
        self.pool.release(offset)
        assert scores.values.tolist() == [value]
        return scores.transport

    async def send_from_gpu(self, value: int) -> str:
        """Send a clip that was decoded on the GPU, with other bytes on the host, and return the transport."""
        (offset,) = await self.pool.acquire(1)
        try:
            self.pool.view(offset, CLIP)[:] = value + 1
            assert self.pool.device._address is not None
            self.cuda.write(self.pool.device._address + offset, bytes([value]) * CLIP_BYTES)
            self.cuda.copied = 0
            self.pool.device.mark_written(offset, on_gpu=True)
            scores = await self.triton.infer(ClipInput(MODEL, "1", offset, CLIP))
            assert self.cuda.copied == 0
        finally:
            self.pool.release(offset)
        assert scores.values.tolist() == [value]
        return scores.transport


@asynccontextmanager
async def worker(transport: str = "auto") -> AsyncIterator[Worker]:
    cuda = FakeCuda(device=2)
    pool = CudaSlotPool(3, 4096, cuda)
    try:
        async with running_fake() as (fake, address):
            triton = Triton(address, pool, transport)
            await triton.models()
            try:
                yield Worker(fake, cuda, pool, triton)
            finally:
                await triton.close()
                assert fake.system == {}
    finally:
        pool.close()


def run(scenario: Callable[[Worker], Awaitable[None]], transport: str = "auto") -> None:
    async def main() -> None:
        async with worker(transport) as connected:
            await scenario(connected)

    asyncio.run(main())
