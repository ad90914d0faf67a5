"""Registration of shared memory regions, with the fake Triton and with the real one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from app.errors import NotReady
from app.inference.client import ClipInput, Triton
from app.inference.transports import CUDA, SYSTEM
from app.shm.cuda_pool import CudaSlotPool
from app.shm.pool import SlotPool
from tests.integration.app.inference.transports import CLIP, Worker, run
from tests.support.cuda_fake import FakeCuda
from tests.support.networks import served_video
from tests.support.triton_fake import MODEL, running_fake
from tests.support.triton_server import running_triton
from triton_repo.zoo.export.openvino import example_clips, write_model


def test_region_is_registered_again_after_a_restart() -> None:
    async def scenario(worker: Worker) -> None:
        assert await worker.send(1) == CUDA
        worker.fake.restart()
        assert await worker.send(2) == CUDA
        await worker.triton.regions.register()
        worker.fake.restart()
        assert await worker.triton.regions.names() == []
        assert await worker.triton.regions.names() == [worker.pool.name]

    run(scenario)


def test_region_is_registered_after_triton_returns() -> None:
    async def scenario(worker: Worker) -> None:
        await worker.triton.regions.register()
        worker.fake.restart()
        worker.fake.starting = True
        with pytest.raises(NotReady):
            await worker.triton.regions.names()
        worker.fake.starting = False
        assert worker.pool.name not in await worker.triton.regions.names()
        assert worker.pool.name in await worker.triton.regions.names()

    run(scenario)


def test_region_of_a_dead_worker_is_unregistered() -> None:
    async def scenario(worker: Worker) -> None:
        await worker.triton.regions.register()
        dead = "clipstack-1-dead"
        worker.fake.system[dead] = memoryview(b"")
        await worker.triton.regions.unregister(dead)
        assert set(worker.fake.system) == {worker.pool.name}

    run(scenario)


@pytest.mark.parametrize("transport", ["auto", "shm"])
def test_gpu_memory_that_triton_may_use_is_not_freed(transport: str) -> None:
    async def scenario() -> None:
        cuda = FakeCuda()
        pool = CudaSlotPool(1, 4096, cuda)
        async with running_fake() as (_, address):
            triton = Triton(address, pool, transport)
            await triton.models()
            await triton.infer(ClipInput(MODEL, "1", 0, CLIP))
            await triton.close()
        pool.close()
        assert cuda.held == (["memory"] if transport == "auto" else [])

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("triton")
    write_model(served_video(), MODEL, folder / "models")
    with running_triton(folder / "models", folder) as client:
        yield client._channel._channel.target().decode()


@asynccontextmanager
async def server(name: str, real: str) -> AsyncIterator[str]:
    if name == "real":
        yield real
        return
    async with running_fake() as (fake, address):
        fake.can_open = fake.on_gpu = False
        yield address


@pytest.mark.parametrize("name", ["fake", "real"])
def test_server_without_our_gpu_uses_system_memory(name: str, real: str) -> None:
    async def scenario() -> None:
        pool = CudaSlotPool(2, 1 << 20, FakeCuda())
        async with server(name, real) as address:
            triton = Triton(address, pool, "auto")
            await triton.models()
            await triton.regions.register()
            assert triton.transports.refusals == {}
            assert pool.name in await triton.regions.names()
            answers = []
            clips = example_clips(served_video(), 2)
            clips[1] //= 2
            for clip in (clips[0], clips[1], clips[0]):
                pool.view(0, (4, 48, 48, 3))[:] = clip
                answers.append(await triton.infer(ClipInput(MODEL, "1", 0, (4, 48, 48, 3))))
            await triton.close()
        pool.close()
        assert [answer.transport for answer in answers] == [SYSTEM] * 3
        bright, dark, again = (answer.values for answer in answers)
        np.testing.assert_array_equal(bright, again)
        assert not np.array_equal(bright, dark)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["fake", "real"])
def test_unregistered_region_is_registered_again(name: str, real: str) -> None:
    async def scenario() -> None:
        pool = SlotPool(2, 1 << 20)
        async with server(name, real) as address:
            triton = Triton(address, pool, "auto")
            await triton.regions.register()
            await triton.regions.unregister(pool.name)
            assert (await triton.infer(ClipInput(MODEL, "1", 0, (4, 48, 48, 3)))).transport == SYSTEM
            assert pool.name in await triton.regions.names()
            await triton.close()
        pool.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["fake", "real"])
def test_required_cuda_fails_if_the_server_lacks_it(name: str, real: str) -> None:
    async def scenario() -> None:
        pool = CudaSlotPool(2, 1 << 20, FakeCuda())
        async with server(name, real) as address:
            triton = Triton(address, pool, "cuda")
            with pytest.raises(NotReady, match="cannot use shared memory"):
                await triton.infer(ClipInput(MODEL, "1", 0, (4, 48, 48, 3)))
            await triton.close()
        pool.close()

    asyncio.run(scenario())
