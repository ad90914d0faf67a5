"""How clips reach Triton: the best way that it takes, the next one when it does not, and back again."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from app.errors import NotReady
from app.inference import transports
from app.inference.client import ClipInput, Triton
from app.inference.transports import CUDA, INLINE, SYSTEM, Transports
from app.shm.cuda_pool import CudaSlotPool
from app.shm.pool import SlotPool
from tests.support.cuda_fake import LOST, FakeCuda
from tests.support.networks import served_video
from tests.support.triton_fake import CLIP_BYTES, MODEL, FakeTriton, running_fake
from tests.support.triton_server import running_triton
from triton_repo.zoo.export.openvino import example_clips, write_model

CLIP = (1, 8, 8, 3)
assert math.prod(CLIP) == CLIP_BYTES


class Worker:
    """A pool on the fake GPU and its connection to the fake Triton."""

    def __init__(self, fake: FakeTriton, cuda: FakeCuda, pool: CudaSlotPool, triton: Triton) -> None:
        self.fake, self.cuda, self.pool, self.triton = fake, cuda, pool, triton

    async def ask(self, value: int) -> str:
        """How a clip of that value in every byte got there; its score must be its own."""
        (offset,) = await self.pool.acquire(1)
        self.pool.view(offset, CLIP)[:] = value
        scores = await self.triton.infer(ClipInput(MODEL, "1", offset, CLIP))
        self.pool.release(offset)
        assert scores.values.tolist() == [value]
        return scores.transport

    async def made_on_gpu(self, value: int) -> str:
        """The way that a clip took which a decoder wrote on the GPU, while something else lies on the host."""
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
        async with worker(transport) as one:
            await scenario(one)

    asyncio.run(main())


@pytest.mark.parametrize(("transport", "way"), [("auto", CUDA), ("cuda", CUDA), ("shm", SYSTEM), ("inline", INLINE)])
def test_clip_goes_best_way_that_is_allowed(transport: str, way: str) -> None:
    async def scenario(one: Worker) -> None:
        assert [await one.ask(value) for value in (3, 200, 0)] == [way] * 3
        assert one.triton.transports.clips == {way: 3}
        assert (one.cuda.copied > 0) == (way == CUDA)
        if way == CUDA:
            assert one.fake.devices == {one.pool.name: 2}

    run(scenario, transport)


@pytest.mark.parametrize(("transport", "way"), [("auto", CUDA), ("shm", SYSTEM), ("inline", INLINE)])
def test_gpu_clip_is_copied_only_if_needed(transport: str, way: str) -> None:
    async def scenario(one: Worker) -> None:
        assert await one.made_on_gpu(7) == way
        assert one.cuda.brought_back == (0 if way == CUDA else CLIP_BYTES)
        assert await one.ask(3) == way  # the slot is the host's again

    run(scenario, transport)


def test_gpu_clip_is_sent_when_triton_cannot_open_it() -> None:
    async def scenario(one: Worker) -> None:
        one.fake.can_open = False
        assert await one.made_on_gpu(7) == SYSTEM
        assert not one.triton.takes_clips_on_gpu(MODEL, "1")

    run(scenario)


def test_clip_lost_with_the_gpu_may_be_retried() -> None:
    async def scenario(one: Worker) -> None:
        one.fake.can_open = False
        one.cuda.fail("copy", LOST)
        with pytest.raises(NotReady, match="the GPU was lost"):
            await one.made_on_gpu(7)

    run(scenario)


def test_gpu_models_get_gpu_clips() -> None:
    async def scenario(one: Worker) -> None:
        assert one.triton.takes_clips_on_gpu(MODEL, "1")
        one.fake.on_gpu = False
        await one.triton.models()
        assert not one.triton.takes_clips_on_gpu(MODEL, "1")

    run(scenario)


def test_cpu_model_gets_no_clips_by_the_gpu() -> None:
    async def scenario(one: Worker) -> None:
        one.fake.on_gpu = False
        await one.triton.models()
        assert await one.ask(5) == SYSTEM
        assert one.cuda.copied == 0

    run(scenario)


def test_unopenable_memory_is_logged_once_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(one: Worker) -> None:
        one.fake.can_open = False
        assert [await one.ask(1), await one.ask(2)] == [SYSTEM, SYSTEM]
        assert one.triton.transports.refusals == {CUDA: 1}

    run(scenario)
    assert caplog.text.count("cuda_shared_memory refused") == 1


@pytest.mark.parametrize("where", ["copy", "over"])
def test_a_gpu_that_is_lost_costs_no_request(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(one: Worker) -> None:
        assert await one.ask(1) == CUDA
        one.cuda.fail(where, LOST)
        assert await one.ask(2) == SYSTEM
        one.cuda.heal()
        assert await one.ask(3) == SYSTEM  # left alone for a while
        monkeypatch.setattr(one.triton.transports, "_clock", lambda: float("inf"))
        assert await one.ask(4) == CUDA

    run(scenario)


@pytest.mark.parametrize(
    "error",
    [
        "Failed to process the request(s) for model 'mean_0', message: Stub process 'mean_0_0' is not healthy.",
        "[request id: <id_unknown>] unexpected inference input 'GPU_CLIP' for model 'mean'",
    ],
    ids=["its process ended", "it was replaced by one on the CPU"],
)
def test_reference_that_a_model_cannot_take_costs_no_request(error: str) -> None:
    async def scenario(one: Worker) -> None:
        one.fake.infer_error = error
        assert [await one.ask(1), await one.ask(2)] == [SYSTEM, SYSTEM]
        assert one.triton.transports.refusals == {CUDA: 1}

    run(scenario)


def test_restarted_triton_is_told_of_the_region_again() -> None:
    async def scenario(one: Worker) -> None:
        assert await one.ask(1) == CUDA
        one.fake.restart()
        assert await one.ask(2) == CUDA
        await one.triton.regions.register()
        one.fake.restart()
        assert await one.triton.regions.names() == []
        assert await one.triton.regions.names() == [one.pool.name]

    run(scenario)


def test_region_is_registered_after_triton_returns() -> None:
    async def scenario(one: Worker) -> None:
        await one.triton.regions.register()
        one.fake.restart()
        one.fake.starting = True
        with pytest.raises(NotReady):
            await one.triton.regions.names()
        one.fake.starting = False
        assert one.pool.name not in await one.triton.regions.names()
        assert one.pool.name in await one.triton.regions.names()

    run(scenario)


def test_dead_worker_s_region_is_closed_by_its_name() -> None:
    async def scenario(one: Worker) -> None:
        await one.triton.regions.register()
        dead = "clipstack-1-dead"
        one.fake.system[dead] = memoryview(b"")
        await one.triton.regions.unregister(dead)
        assert set(one.fake.system) == {one.pool.name}

    run(scenario)


@pytest.mark.parametrize("transport", ["auto", "shm"])
def test_memory_that_a_model_may_have_open_is_not_freed(transport: str) -> None:
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


def test_given_up_and_tried_again() -> None:
    now = 0.0
    ways = Transports(transports.CHAINS["auto"], lambda: now)
    ways.record_refusal(CUDA, "lost")
    assert list(ways.usable(on_gpu=True)) == [SYSTEM, INLINE]
    ways.record_refusal(SYSTEM, "elsewhere")
    assert list(ways.usable(on_gpu=True)) == [INLINE]
    now = transports.RETRY_S
    assert list(ways.usable(on_gpu=True)) == [CUDA, SYSTEM, INLINE]


def test_transport_change_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ways = Transports(transports.CHAINS["auto"])
    for way in (CUDA, CUDA, SYSTEM, SYSTEM):
        ways.record_use(way)
    assert [record.message for record in caplog.records] == [
        "clips go by cuda_shared_memory",
        "clips go by system_shared_memory, no longer by cuda_shared_memory",
    ]
    assert ways.facts() == {"last": SYSTEM, "clips": {CUDA: 2, SYSTEM: 2}, "refusals": {}}


# --- The real server, which has no GPU here, and the fake: the same words ---------------------------------------------


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
def test_region_that_somebody_took_away_is_registered_again(name: str, real: str) -> None:
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
