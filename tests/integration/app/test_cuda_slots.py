"""Slots on a GPU: on the fake one, and on the real one where this machine has one."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest

from app.shm import cuda_region
from app.shm.cuda_pool import CudaSlotPool, open_pool
from app.shm.cuda_region import BLOCK_BYTES
from app.shm.cuda_runtime import HANDLE_BYTES, CudaError, CudaRuntime
from app.shm.pool import SHM, RegionError
from tests.support.cuda_fake import LOST, NO_IPC, OUT_OF_MEMORY, FakeCuda
from tests.support.cuda_here import read_back, real_cuda


@pytest.fixture(params=["fake", "real"])
def runtime(request: pytest.FixtureRequest) -> CudaRuntime:
    return FakeCuda() if request.param == "fake" else real_cuda()


@pytest.fixture
def fake() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def pool(runtime: CudaRuntime) -> Iterator[CudaSlotPool]:
    pool = CudaSlotPool(3, 1 << 20, runtime)
    yield pool
    pool.close()


def test_clip_is_on_gpu_when_its_upload_returns(pool: CudaSlotPool, runtime: CudaRuntime) -> None:
    clip = np.arange(1 << 20, dtype=np.uint32).astype(np.uint8)[: (1 << 20) - 7]
    pool.view(1 << 20, clip.shape)[:] = clip
    asyncio.run(pool.device.upload(1 << 20, clip.nbytes))
    assert pool.device._address is not None
    assert read_back(runtime, pool.device._address + (1 << 20), clip.nbytes) == clip.tobytes()


def test_concurrent_uploads_keep_their_own_clips(pool: CudaSlotPool, runtime: CudaRuntime) -> None:
    async def scenario() -> None:
        for number, offset in enumerate(await pool.acquire(3)):
            pool.view(offset, (1000,))[:] = number + 1
        await asyncio.gather(*(pool.device.upload(offset, 1000) for offset in (0, 1 << 20, 2 << 20)))

    asyncio.run(scenario())
    base = pool.device._address
    assert base is not None
    assert {read_back(runtime, base + offset, 1000)[:1] for offset in (0, 1 << 20, 2 << 20)} == {b"\1", b"\2", b"\3"}


def test_slot_can_be_refilled(pool: CudaSlotPool, runtime: CudaRuntime) -> None:
    base = pool.device._address
    assert base is not None
    for value in (7, 8):
        pool.view(0, (64,))[:] = value
        asyncio.run(pool.device.upload(0, 64))
        assert read_back(runtime, base, 64) == bytes([value]) * 64


def test_gpu_region_can_be_opened_by_another_process(pool: CudaSlotPool) -> None:
    assert pool.device.region_bytes == 2 * BLOCK_BYTES  # 3 MiB of slots, rounded up to whole blocks
    assert len(pool.device.handle) == HANDLE_BYTES
    assert pool.device.handle.strip(b"\0")


def test_gpu_clip_is_copied_to_the_host_once(fake: FakeCuda) -> None:
    pool = CudaSlotPool(2, 4096, fake)
    try:
        assert pool.device._address is not None
        fake.write(pool.device._address + 4096, b"\7" * 100)
        pool.device.mark_written(4096, on_gpu=True)
        fake.copied = 0
        for _ in range(2):
            asyncio.run(pool.device.upload(4096, 100))
            asyncio.run(pool.device.download(4096, 100))
        assert bytes(pool.view(4096, (100,))) == b"\7" * 100
        assert (fake.copied, fake.brought_back) == (0, 100)
    finally:
        pool.close()


@pytest.mark.parametrize("ended", [False, True], ids=["written by the host again", "given back"])
def test_slot_is_in_host_memory_until_gpu_writes(fake: FakeCuda, ended: bool) -> None:
    async def scenario() -> None:
        (offset,) = await pool.acquire(1)
        await pool.device.download(offset, 100)
        pool.device.mark_written(offset, on_gpu=True)
        if ended:
            pool.release(offset)
            assert await pool.acquire(1) == [offset]
        else:
            pool.device.mark_written(offset, on_gpu=False)
        pool.view(offset, (100,))[:] = 9
        await pool.device.upload(offset, 100)
        await pool.device.download(offset, 100)
        assert pool.device._address is not None
        assert fake.read(pool.device._address + offset, 100) == b"\x09" * 100

    pool = CudaSlotPool(1, 4096, fake)
    try:
        asyncio.run(scenario())
        assert fake.brought_back == 0
    finally:
        pool.close()


def test_process_cannot_open_its_own_region(pool: CudaSlotPool, runtime: CudaRuntime) -> None:
    with pytest.raises(CudaError, match=r"^cudaError\w+: "):
        runtime.open(pool.device.handle)


def test_invalid_handle_is_refused(runtime: CudaRuntime) -> None:
    with pytest.raises(CudaError, match=r"^cudaError\w+: "):
        runtime.open(bytes(HANDLE_BYTES))


def test_event_loop_runs_during_a_copy(fake: FakeCuda) -> None:
    async def scenario() -> int:
        upload, rounds = asyncio.create_task(pool.device.upload(0, 1000)), 0
        while not upload.done():
            await asyncio.sleep(0)
            rounds += 1
        await upload
        return rounds

    pool = CudaSlotPool(1, 4096, fake)
    try:
        assert asyncio.run(scenario()) > 2
        assert fake.copied == 1000
    finally:
        pool.close()


def test_gpu_memory_is_freed(fake: FakeCuda) -> None:
    pool = CudaSlotPool(3, 4096, fake)
    assert set(fake.held) == {"memory", "pinned", "event"}
    pool.close()
    assert fake.held == []


def test_memory_that_a_model_may_read_is_not_freed(fake: FakeCuda) -> None:
    pool = CudaSlotPool(3, 4096, fake)
    pool.device.reference(0)
    pool.close()
    assert fake.held == ["memory"]
    assert not pool.path.exists()


@pytest.mark.parametrize(
    ("method", "words"),
    [("allocate", OUT_OF_MEMORY), ("handle", NO_IPC), ("pin", "cudaErrorNotSupported: "), ("event", LOST)],
)
def test_failed_allocation_leaves_nothing_behind(fake: FakeCuda, method: str, words: str) -> None:
    before = set(SHM.iterdir())
    fake.fail(method, words)
    with pytest.raises(CudaError, match=re.escape(words)):
        CudaSlotPool(3, 4096, fake)
    assert fake.held == []
    assert set(SHM.glob("clipstack-*")) <= before


def test_more_than_the_gpu_holds_is_refused(fake: FakeCuda) -> None:
    small = FakeCuda(memory=BLOCK_BYTES)
    with pytest.raises(CudaError, match="out of memory"):
        CudaSlotPool(3, 1 << 20, small)
    assert small.held == []


@pytest.mark.parametrize("when", ["copy", "over"])
def test_lost_gpu_fails_the_upload(fake: FakeCuda, when: str) -> None:
    pool = CudaSlotPool(3, 4096, fake)
    fake.fail(when, LOST)
    with pytest.raises(CudaError, match="cudaErrorDevicesUnavailable"):
        asyncio.run(pool.device.upload(0, 10))
    fake.lose()
    pool.close()
    assert not pool.path.exists()


def test_endless_copy_times_out(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_region, "COPY_TIMEOUT_S", 0.01)
    pool = CudaSlotPool(1, 4096, fake)
    fake.stuck = True
    try:
        with pytest.raises(CudaError, match="did not finish within 0.01 s"):
            asyncio.run(pool.device.upload(0, 10))
    finally:
        pool.close()


def refusing(words: str) -> Callable[[int], CudaRuntime]:
    def make(device: int) -> CudaRuntime:
        raise CudaError(words)

    return make


@pytest.mark.parametrize(("transport", "gpu"), [("auto", None), ("shm", 0), ("inline", 0)])
def test_slots_without_a_gpu_are_in_system_memory(transport: str, gpu: int | None) -> None:
    pool = open_pool(transport, 1, 4096, gpu, refusing("not asked"))
    pool.close()
    assert pool.device is None


def test_each_worker_has_its_slots_on_its_own_gpu() -> None:
    pool = open_pool("auto", 1, 4096, 3, FakeCuda)
    try:
        assert pool.device is not None
        assert (pool.device.device, pool.device.region) == (3, pool.name)
    finally:
        pool.close()


def test_unusable_gpu_is_named_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    pool = open_pool("auto", 1, 4096, 0, refusing("cudaErrorInsufficientDriver: CUDA driver version is ..."))
    pool.close()
    assert pool.device is None
    assert "no slots on GPU 0" in caplog.text and "cudaErrorInsufficientDriver" in caplog.text


@pytest.mark.parametrize("gpu", [None, 0])
def test_required_cuda_works_or_prevents_start(gpu: int | None) -> None:
    with pytest.raises(RegionError, match="CLIPSTACK_TRANSPORT( is |=)cuda"):
        open_pool("cuda", 1, 4096, gpu, refusing("no GPU"))


def test_real_runtime_says_why_it_is_missing() -> None:
    from app.shm.cuda_runtime import CudaRuntime

    with pytest.raises(CudaError, match=r"^(cudaError\w+: |there is no GPU 4096 here)"):
        CudaRuntime(4096)
    with suppress(CudaError):
        CudaRuntime(0).close()
