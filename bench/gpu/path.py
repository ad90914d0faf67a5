"""Whole path: a clip in a worker's slot, the app's own client, Triton, scores; by every transport."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inference.client import ClipInput, Triton
from app.shm.cuda_pool import open_pool
from app.shm.pool import SlotPool
from bench.gpu.networks import BenchModel

WAYS = {"cuda": "cuda_shared_memory", "shm": "system_shared_memory", "inline": "inline"}
SENDERS = (1, 4, 16)
SLOTS = 32
MARGIN_BYTES = 4096  # slots are larger than their clips, as in the service


class PathError(Exception):
    """The whole path failed a check."""


@asynccontextmanager
async def worker(
    address: str, transport: str, subject: BenchModel, gpu: int | None
) -> AsyncIterator[tuple[SlotPool, Triton]]:
    """Yield a pool and a connection like those of a web worker."""
    slot_bytes = subject.clips[0].nbytes + MARGIN_BYTES
    pool = open_pool(transport, SLOTS, slot_bytes, gpu if transport == "cuda" else None)
    triton = Triton(address, pool, transport)
    try:
        await triton.models()
        yield pool, triton
    finally:
        await triton.close()
        pool.close()


async def ask(pool: SlotPool, triton: Triton, subject: BenchModel, number: int) -> tuple[NDArray[np.float32], str]:
    """Write one of the subject's clips into a slot, and return its scores and transport."""
    clip = subject.clips[number % len(subject.clips)]
    (offset,) = await pool.acquire(1)
    try:
        pool.view(offset, clip.shape)[:] = clip
        result = await triton.infer(ClipInput(subject.name, "1", offset, clip.shape))
    finally:
        pool.release(offset)
    return result.values, result.transport


async def measure(
    address: str, subject: BenchModel, transport: str, gpu: int | None, allowed: float, seconds: float
) -> dict[str, Any]:
    """Check the scores, then time slot to scores for each number of senders.

    Raises:
        PathError: An answer is wrong.
    """
    async with worker(address, transport, subject, gpu) as (pool, triton):
        difference = 0.0
        for number in range(2 * len(subject.clips)):
            scores, way = await ask(pool, triton, subject, number)
            if way != WAYS[transport]:
                raise PathError(f"{subject.name} went by {way} instead of {WAYS[transport]}")
            difference = max(difference, float(np.abs(scores - subject.right[number % len(subject.clips)]).max()))
        if not difference <= allowed:
            raise PathError(f"{subject.name} by {transport} is off by {difference:.2g}, allowed is {allowed:.2g}")
        result: dict[str, Any] = {"way": way, "largest_difference": difference, "allowed": allowed, "senders": {}}
        for senders in SENDERS:
            await send(pool, triton, subject, senders, seconds / 10)
            started = time.perf_counter()
            times = await send(pool, triton, subject, senders, seconds)
            result["senders"][str(senders)] = {
                "p50_ms": float(np.percentile(times, 50)) * 1e3,
                "p99_ms": float(np.percentile(times, 99)) * 1e3,
                "clips_per_s": len(times) / (time.perf_counter() - started),
            }
    return result


async def send(pool: SlotPool, triton: Triton, subject: BenchModel, senders: int, seconds: float) -> list[float]:
    """Return the seconds of every request of `senders` concurrent senders without pauses."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        clip = subject.clips[number % len(subject.clips)]
        (offset,) = await pool.acquire(1)
        pool.view(offset, clip.shape)[:] = clip
        while (begun := time.perf_counter()) < end:
            await triton.infer(ClipInput(subject.name, "1", offset, clip.shape))
            times.append(time.perf_counter() - begun)
        pool.release(offset)

    await asyncio.gather(*(one(number) for number in range(senders)))
    return times
