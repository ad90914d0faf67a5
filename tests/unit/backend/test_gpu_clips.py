"""Regions of web workers on a GPU that a model's process keeps open."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

import pytest

from app.shm import cuda_region
from app.shm.cuda_pool import CudaSlotPool
from app.shm.pool import SHM
from tests.support.cuda_driver import FakeDriver
from tests.support.cuda_fake import FakeCuda
from triton_repo.backends.clip.gpu_clips import REFERENCE, GpuClipError, GpuClips, regions
from triton_repo.backends.clip.gpu_clips.driver import DriverError

REGION_BYTES, CLIP_BYTES = 1 << 16, 4096


class Workers:
    """The clips of a model's process, its driver, and the living workers."""

    def __init__(self, most: int = 64) -> None:
        self.driver, self.dead, self.now = FakeDriver(), set[str](), 0.0
        self.clips = GpuClips(lambda: self.driver, most, lambda name: name not in self.dead, lambda: self.now)

    def find(self, worker: int, offset: int = 0, device: int = 0, handle: int | None = None) -> tuple[int, int]:
        with self.clips.in_use():
            return self.clips.find(reference(worker, offset, device, handle), CLIP_BYTES)


def name(worker: int) -> str:
    return f"clipstack-{worker}-{worker:016x}"


def reference(worker: int, offset: int = 0, device: int = 0, handle: int | None = None) -> bytes:
    return REFERENCE.pack(
        bytes([worker if handle is None else handle]) * 64, name(worker).encode(), REGION_BYTES, offset, device
    )


@pytest.fixture
def workers(request: pytest.FixtureRequest):
    made = Workers()
    yield made
    made.clips.close()
    assert made.driver.held == {}


def test_app_and_backend_write_references_alike() -> None:
    assert cuda_region.REFERENCE.format == REFERENCE.format
    pool = CudaSlotPool(2, CLIP_BYTES, FakeCuda(device=1))
    driver = FakeDriver()
    clips = GpuClips(lambda: driver)
    try:
        with clips.in_use():
            clip = clips.find(pool.device.reference(CLIP_BYTES), CLIP_BYTES)
        assert driver.held[clip.address - CLIP_BYTES] == (1, pool.device.handle)
    finally:
        clips.close()
        pool.close()


def test_region_is_opened_once_for_all_its_clips(workers: Workers) -> None:
    (device, first), (_, second) = workers.find(1, 0), workers.find(1, 8192)
    assert (device, second - first, workers.driver.opens) == (0, 8192, 1)


def test_each_worker_has_its_own_region_and_gpu(workers: Workers) -> None:
    assert workers.find(1, device=0)[1] != workers.find(2, device=1)[1]
    assert [device for device, _ in workers.driver.held.values()] == [0, 1]


def test_regions_of_dead_workers_are_closed(workers: Workers) -> None:
    workers.find(1)
    workers.find(2)
    workers.dead.add(name(1))
    workers.clips.sweep()
    assert [handle[0] for _, handle in workers.driver.held.values()] == [2]


def test_sweeper_closes_regions_without_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "SWEEP_S", 0.01)
    workers = Workers()
    workers.find(1)
    workers.dead.add(name(1))
    for _ in range(1000):
        if not workers.driver.held:
            break
        workers.clips._ended.wait(0.01)
    assert workers.driver.held == {}
    workers.clips.close()


def test_region_that_was_idle_is_closed_and_opened_again(workers: Workers) -> None:
    workers.find(1)
    workers.now = regions.IDLE_S + 1
    workers.clips.sweep()
    assert workers.driver.held == {}
    workers.find(1)
    assert workers.driver.opens == 2


def test_number_of_open_regions_is_limited() -> None:
    workers = Workers(most=2)
    for worker in (1, 2, 1, 3):
        workers.find(worker)
    assert sorted(handle[0] for _, handle in workers.driver.held.values()) == [1, 3]  # 2 was used least recently
    with workers.clips.in_use():
        for worker in (4, 5, 6):
            workers.clips.find(reference(worker), CLIP_BYTES)
        assert len(workers.clips) == 5  # clips in use stay
    assert len(workers.clips) == 2
    workers.clips.close()


def test_reused_handle_opens_new_memory(workers: Workers) -> None:
    workers.find(1, handle=7)
    before = set(workers.driver.held)
    workers.find(2, handle=7)
    assert set(workers.driver.held).isdisjoint(before) and len(workers.driver.held) == 1


def test_failed_open_fails_only_its_own_request(workers: Workers) -> None:
    workers.find(1)
    workers.driver.failing = "CUDA_ERROR_INVALID_HANDLE of cuIpcOpenMemHandle_v2"
    with pytest.raises(GpuClipError, match=r"clipstack-2-\w+ on GPU 0 cannot be opened: CUDA_ERROR_INVALID_HANDLE"):
        workers.find(2)
    workers.find(1)
    workers.driver.failing = ""
    workers.find(2)


def test_missing_driver_is_tried_again_at_next_clip() -> None:
    tries = []

    def missing() -> FakeDriver:
        tries.append(1)
        raise DriverError("NVIDIA's driver cannot be loaded: no such file")

    clips = GpuClips(missing)
    for _ in range(2):
        with clips.in_use(), pytest.raises(GpuClipError, match="driver cannot be loaded"):
            clips.find(reference(1), CLIP_BYTES)
    assert len(tries) == 2


def test_region_that_cannot_be_closed_is_forgotten(workers: Workers, capfd: pytest.CaptureFixture[str]) -> None:
    workers.find(1)
    workers.driver.held.clear()
    workers.dead.add(name(1))
    workers.clips.sweep()
    assert len(workers.clips) == 0
    assert "was not closed: CUDA_ERROR_INVALID_VALUE" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (reference(1)[:-1], r"a reference has \d+ bytes, not \d+"),
        (REFERENCE.pack(bytes(64), b"../../etc/passwd", REGION_BYTES, 0, 0), "is not the name of a region"),
        (reference(1, REGION_BYTES - CLIP_BYTES + 1), "is not inside a region of 65536 bytes"),
        (reference(1, device=999), "there is no GPU 999"),
    ],
    ids=["short", "name", "offset", "GPU"],
)
def test_reference_that_no_worker_writes_is_refused(workers: Workers, content: bytes, words: str) -> None:
    with workers.clips.in_use(), pytest.raises(GpuClipError, match=words):
        workers.clips.find(content, CLIP_BYTES)
    assert workers.driver.opens == 0


def test_owner_lives_while_it_holds_its_lock() -> None:
    path = Path(SHM, f"clipstack-{os.getpid()}-{secrets.token_hex(8)}")
    assert not regions.owner_is_alive(path.name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert not regions.owner_is_alive(path.name)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert regions.owner_is_alive(path.name)
    finally:
        path.unlink()
        os.close(descriptor)
