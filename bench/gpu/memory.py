"""Memory leaks after many requests, and after a killed worker.

python -m bench.gpu.memory ADDRESS TRANSPORT GPU SLOT_BYTES MODEL SHAPE    the worker to be killed; `killed` starts it
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from app.inference.client import ClipInput, Triton
from app.settings import CHECKOUT
from app.shm.cuda_pool import open_pool
from app.shm.pool import SHM, SlotPool, is_stale, remove_stale_regions
from bench.gpu.networks import BenchModel
from bench.gpu.path import MARGIN_BYTES, SLOTS, PathError, ask, worker

PAGE_BYTES = 2 << 20  # granularity of CUDA's allocations
WARM_UP = 20  # requests
GIVEN_BACK_S = 10.0  # the driver needs a moment to free the memory of a killed process


def of_gpu() -> int:
    """Return the bytes in use on the GPU by all processes."""
    free, total = torch.cuda.mem_get_info(0)
    return total - free


def of_host() -> int:
    """Return the bytes in use in /dev/shm by all processes."""
    stats = os.statvfs(SHM)
    return (stats.f_blocks - stats.f_bfree) * stats.f_frsize


async def growth(
    address: str, subject: BenchModel, transport: str, gpu: int | None, used: Callable[[], int], requests: int
) -> dict[str, Any]:
    """Return the bytes that stay in use after that many requests, and the bytes of a worker's slots."""
    before_worker = used()
    async with worker(address, transport, subject, gpu) as (pool, triton):
        for number in range(WARM_UP):
            await ask(pool, triton, subject, number)
        before = used()
        for number in range(requests):
            await ask(pool, triton, subject, number)
        after = used()
    return {"requests": requests, "slots_bytes": before - before_worker, "growth_bytes": after - before}


async def killed(
    address: str, subject: BenchModel, transport: str, gpu: int | None, used: Callable[[], int]
) -> dict[str, Any]:
    """Kill a worker that holds slots and return the bytes in use after another worker's cleanup.

    By `cuda` the model's process has the worker's memory open, and closes it by itself.

    Raises:
        PathError: Triton or /dev/shm still has a region of the worker.
    """
    before = used()
    slot_bytes = subject.clips[0].nbytes + MARGIN_BYTES
    shape = ",".join(map(str, subject.clips[0].shape))
    words = [
        sys.executable,
        "-m",
        "bench.gpu.memory",
        address,
        transport,
        str(gpu),
        str(slot_bytes),
        subject.name,
        shape,
    ]
    victim = subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert victim.stdout
    name = await asyncio.to_thread(victim.stdout.readline)
    during = used()
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    remove_stale_regions()
    stale, left = await _reap(address)
    if transport != "cuda":  # Triton itself does not open a GPU's memory
        _require_no_trace(name.strip(), stale, left)
    left_bytes = await _settle(used, before + PAGE_BYTES) - before
    return {"regions": stale, "held_bytes": during - before, "left_bytes": left_bytes}


async def _reap(address: str) -> tuple[list[str], list[str]]:
    """Return Triton's stale regions, and all its regions after a worker's cleanup."""
    pool = SlotPool(1, MARGIN_BYTES)
    triton = Triton(address, pool, "shm")
    try:
        stale = [region for region in await triton.regions.names() if is_stale(region)]
        for region in stale:
            await triton.regions.unregister(region)
        return stale, list(await triton.regions.names())
    finally:
        await triton.close()
        pool.close()


def _require_no_trace(name: str, stale: list[str], left: list[str]) -> None:
    if not name or name not in stale:
        raise PathError(f"Triton never had the regions of the killed worker {name!r}: it had {stale}")
    if name in left:
        raise PathError(f"Triton still has the region {name} of a killed worker")
    if (SHM / name).exists():
        raise PathError(f"{SHM / name} of a killed worker is still there")


async def _settle(used: Callable[[], int], most: int) -> int:
    """Return the bytes in use once they are at most `most`, or after GIVEN_BACK_S."""
    deadline = asyncio.get_running_loop().time() + GIVEN_BACK_S
    while (now := used()) > most and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.1)
    return now


async def _victim(
    address: str, transport: str, gpu: int | None, slot_bytes: int, model: str, shape: tuple[int, ...]
) -> None:
    """Send a clip, print the pool's name, and wait to be killed."""
    pool = open_pool(transport, SLOTS, slot_bytes, gpu)
    triton = Triton(address, pool, transport)
    await triton.models()
    await triton.infer(ClipInput(model, "1", 0, shape))
    print(pool.name, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    where, how, which, size, name, numbers = sys.argv[1:]
    clip_shape = tuple(map(int, numbers.split(",")))
    asyncio.run(_victim(where, how, None if which == "None" else int(which), int(size), name, clip_shape))
