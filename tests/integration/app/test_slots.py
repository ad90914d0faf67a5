"""A worker's region and its slots: the same tests for system memory and for a copy on a GPU.

The GPU is a fake's, and the real one where this machine has one.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from app.shm.cuda_pool import CudaSlotPool
from app.shm.pool import SHM, RegionError, SlotPool, is_stale, remove_stale_regions
from tests.support.cuda_fake import FakeCuda
from tests.support.cuda_here import real_cuda

MakePool = Callable[[int, int], SlotPool]


@pytest.fixture(params=["system", "cuda on the fake", "cuda"])
def make_pool(request: pytest.FixtureRequest) -> MakePool:
    if request.param == "system":
        return SlotPool
    runtime = FakeCuda if "fake" in request.param else real_cuda
    if request.param == "cuda":
        real_cuda().close()  # skips where there is no GPU
    return lambda count, slot_bytes: CudaSlotPool(count, slot_bytes, runtime())


def test_region_exists_with_its_memory_until_it_is_closed(make_pool: MakePool) -> None:
    pool = make_pool(4, 1 << 20)
    try:
        status = os.stat(pool.path)
        assert status.st_size == 4 << 20
        assert status.st_blocks * 512 >= 4 << 20  # the memory is allocated, not only reserved
        assert status.st_mode & 0o777 == 0o600
    finally:
        pool.close()
    assert not pool.path.exists()


def test_a_view_is_the_region_itself(make_pool: MakePool) -> None:
    pool = make_pool(2, 64)
    try:
        pool.path.open("r+b").close()
        view = pool.view(64, (2, 2, 3))
        with pool.path.open("r+b") as file:
            file.seek(64)
            file.write(bytes(range(12)))
        assert view.tolist() == np.arange(12).reshape(2, 2, 3).tolist()
    finally:
        pool.close()


def test_each_slot_is_free_used_or_held(make_pool: MakePool) -> None:
    pool = make_pool(3, 64)
    try:
        first, second = asyncio.run(pool.acquire(2))
        pool.quarantine(first)
        assert pool.facts() == {"free": 1, "used": 1, "quarantined": 1}
        pool.release(first)
        pool.release(second)
        assert pool.facts() == {"free": 3, "used": 0, "quarantined": 0}
    finally:
        pool.close()


def test_truncated_region_is_not_valid(make_pool: MakePool) -> None:
    pool = make_pool(2, 4096)
    try:
        assert pool.is_whole
        os.truncate(pool.path, 4096)
        assert not pool.is_whole
    finally:
        pool.close()


def test_slots_never_overlap_and_are_reusable(make_pool: MakePool) -> None:
    async def scenario() -> None:
        pool = make_pool(3, 64)
        try:
            first, second = await pool.acquire(2), await pool.acquire(1)
            assert sorted(first + second) == [0, 64, 128]
            late = asyncio.create_task(pool.acquire(2))
            await asyncio.sleep(0)
            pool.release(second[0])
            await asyncio.sleep(0)
            assert not late.done()  # one is free, two are wanted: all or nothing
            pool.release(first[0])
            assert sorted(await asyncio.wait_for(late, 1)) == sorted([first[0], second[0]])
            assert pool.free == 0
        finally:
            pool.close()

    asyncio.run(scenario())


def test_large_request_is_not_starved(make_pool: MakePool) -> None:
    async def scenario() -> None:
        pool = make_pool(2, 64)
        try:
            held = await pool.acquire(2)
            many = asyncio.create_task(pool.acquire(2))
            await asyncio.sleep(0)
            one = asyncio.create_task(pool.acquire(1))
            await asyncio.sleep(0)
            pool.release(held[0])
            await asyncio.sleep(0)
            assert not one.done()
            pool.release(held[1])
            await asyncio.wait_for(many, 1)
            one.cancel()
            await asyncio.gather(one, return_exceptions=True)
            assert pool.free == 0
        finally:
            pool.close()

    asyncio.run(scenario())


def test_full_shared_memory_fails_the_start(make_pool: MakePool) -> None:
    before = set(os.listdir(SHM))
    with pytest.raises(RegionError, match="CLIPSTACK_SLOTS"):
        make_pool(1 << 10, 1 << 40)
    assert not {name for name in set(os.listdir(SHM)) - before if name.startswith(f"clipstack-{os.getpid()}-")}


def test_only_regions_of_dead_processes_are_removed(make_pool: MakePool) -> None:
    code = "from app.shm.pool import SlotPool; import os; print(SlotPool(1, 64).name); os._exit(0)"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    pool = make_pool(1, 64)
    try:
        assert is_stale(dead) and not is_stale(pool.name)
        assert not is_stale("another-program's")
        assert dead in remove_stale_regions()
        assert not (SHM / dead).exists()
        assert pool.path.exists()
    finally:
        pool.close()
