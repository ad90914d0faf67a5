"""The whole path: a clip in a worker's slot, through the app's own client and Triton, to scores; by every transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inference.client import Triton
from app.shm.cuda_pool import open_pool
from app.shm.pool import SlotPool
from bench.gpu.networks import BenchModel

WAYS = {"cuda": "cuda_shared_memory", "shm": "system_shared_memory", "inline": "inline"}
SENDERS = (1, 4, 16)
SLOTS = 32
MARGIN_BYTES = 4096  # a slot is larger than its clip, as those of the service are


class PathError(Exception):
    """The whole path does not do what it must; the message says what."""


@asynccontextmanager
async def worker(
    address: str, transport: str, subject: BenchModel, gpu: int | None
) -> AsyncIterator[tuple[SlotPool, Triton]]:
    """A pool and a connection as a web worker has them."""
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
    """Scores of one of the subject's clips, written into a slot as a decoder writes it, and the way it took."""
    clip = subject.clips[number % len(subject.clips)]
    (offset,) = await pool.acquire(1)
    try:
        pool.view(offset, clip.shape)[:] = clip
        answer = await triton.infer(subject.name, "1", offset, clip.shape)
    finally:
        pool.release(offset)
    return answer.values, answer.transport


async def measure(
    address: str, subject: BenchModel, transport: str, gpu: int | None, allowed: float, seconds: float
) -> dict[str, Any]:
    """Correctness first; then slot to scores, so long for each number of senders. PathError when an answer is wrong."""
    async with worker(address, transport, subject, gpu) as (pool, triton):
        off = 0.0
        for number in range(2 * len(subject.clips)):
            scores, way = await ask(pool, triton, subject, number)
            if way != WAYS[transport]:
                raise PathError(f"{subject.name} went by {way} instead of {WAYS[transport]}")
            off = max(off, float(np.abs(scores - subject.right[number % len(subject.clips)]).max()))
        if not off <= allowed:
            raise PathError(f"{subject.name} by {transport} is off by {off:.2g}, allowed is {allowed:.2g}")
        answer: dict[str, Any] = {"way": way, "largest_difference": off, "allowed": allowed, "senders": {}}
        for senders in SENDERS:
            await _sent(pool, triton, subject, senders, seconds / 10)
            begun = time.perf_counter()
            times = await _sent(pool, triton, subject, senders, seconds)
            answer["senders"][str(senders)] = {
                "p50_ms": float(np.percentile(times, 50)) * 1e3,
                "p99_ms": float(np.percentile(times, 99)) * 1e3,
                "clips_per_s": len(times) / (time.perf_counter() - begun),
            }
    return answer


async def _sent(pool: SlotPool, triton: Triton, subject: BenchModel, senders: int, seconds: float) -> list[float]:
    """Seconds of every request of `senders` that each send the next clip when they have the scores of the last."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        clip = subject.clips[number % len(subject.clips)]
        (offset,) = await pool.acquire(1)
        pool.view(offset, clip.shape)[:] = clip
        while (begun := time.perf_counter()) < end:
            await triton.infer(subject.name, "1", offset, clip.shape)
            times.append(time.perf_counter() - begun)
        pool.release(offset)

    await asyncio.gather(*(one(number) for number in range(senders)))
    return times


__all__ = ["MARGIN_BYTES", "SLOTS", "WAYS", "PathError", "ask", "measure", "worker"]
