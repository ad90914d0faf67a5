"""Memory that must not stay: after many requests, and after a worker that was killed.

python -m bench.gpu.memory ADDRESS TRANSPORT GPU SLOT_BYTES        the worker that is killed; `killed` starts it
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from app.inference.client import Triton
from app.settings import CHECKOUT
from app.shm.cuda_pool import open_pool
from app.shm.cuda_region import DEVICE_SUFFIX
from app.shm.pool import SHM, SlotPool, is_stale, remove_stale_regions
from bench.gpu.networks import BenchModel
from bench.gpu.path import MARGIN_BYTES, SLOTS, PathError, ask, worker

PAGE_BYTES = 2 << 20  # what CUDA takes and gives back at a time
WARM_UP = 20  # requests
GIVEN_BACK_S = 10.0  # the driver takes a moment to clear up after a process that was killed


def of_gpu() -> int:
    """Bytes in use on the GPU, by all processes."""
    free, total = torch.cuda.mem_get_info(0)
    return total - free


def of_host() -> int:
    """Bytes in use in /dev/shm, by all processes."""
    told = os.statvfs(SHM)
    return (told.f_blocks - told.f_bfree) * told.f_frsize


async def growth(
    address: str, subject: BenchModel, transport: str, gpu: int | None, used: Callable[[], int], requests: int
) -> dict[str, Any]:
    """What so many requests leave in use, bytes, and what a worker's slots take."""
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
    """A worker that holds slots and is killed: what is in use when the reaper of another one has run, bytes.

    PathError when Triton, or /dev/shm, still has a region of it.
    """
    before = used()
    slot_bytes = subject.clips[0].nbytes + MARGIN_BYTES
    words = [sys.executable, "-m", "bench.gpu.memory", address, transport, str(gpu), str(slot_bytes)]
    victim = subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert victim.stdout
    name = await asyncio.to_thread(victim.stdout.readline)
    during = used()
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    remove_stale_regions()
    stale, left = await _reaped(address)
    _no_trace(name.strip(), stale, left)
    left_bytes = await _settled(used, before + PAGE_BYTES) - before
    return {"regions": stale, "held_bytes": during - before, "left_bytes": left_bytes}


async def _reaped(address: str) -> tuple[list[str], list[str]]:
    """Names that Triton had of workers that are gone, and all that it has after it was told, as a worker tells it."""
    pool = SlotPool(1, MARGIN_BYTES)
    triton = Triton(address, pool, "shm")
    try:
        stale = [known for known in await triton.regions() if is_stale(known)]
        for known in stale:
            await triton.forget(known)
        return stale, list(await triton.regions())
    finally:
        await triton.close()
        pool.close()


def _no_trace(name: str, stale: list[str], left: list[str]) -> None:
    if not name or name not in [known.removesuffix(DEVICE_SUFFIX) for known in stale]:
        raise PathError(f"Triton never had the regions of the killed worker {name!r}: it had {stale}")
    if kept := [known for known in left if known.startswith(name)]:
        raise PathError(f"Triton still has {kept} of a killed worker")
    if (SHM / name).exists():
        raise PathError(f"{SHM / name} of a killed worker is still there")


async def _settled(used: Callable[[], int], most: int) -> int:
    """What is in use as soon as it is no more than `most`, or when GIVEN_BACK_S are over."""
    deadline = asyncio.get_running_loop().time() + GIVEN_BACK_S
    while (now := used()) > most and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.1)
    return now


async def _victim(address: str, transport: str, gpu: int | None, slot_bytes: int) -> None:
    """A worker that registers its regions, says its name, and waits to be killed."""
    pool = open_pool(transport, SLOTS, slot_bytes, gpu)
    triton = Triton(address, pool, transport)
    await triton.register()
    print(pool.name, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    where, how, which, size = sys.argv[1:]
    asyncio.run(_victim(where, how, None if which == "None" else int(which), int(size)))
