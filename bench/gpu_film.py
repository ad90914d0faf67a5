"""From a film on the disk to scores: decord into the slot, as the decoder does, and on to Triton."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu_networks import Subject
from bench.gpu_path import worker

FILM = Path(__file__).with_name("film.mp4")  # of the bundle
TIMES = 20


async def measure(address: str, subject: Subject, transport: str, gpu: int | None) -> dict[str, Any]:
    """Milliseconds of decoding one clip on the CPU and of the rest, medians; without a film, why not."""
    if not FILM.exists():
        return {"left_out": f"there is no {FILM.name} beside the script: it is in the bundle"}
    import decord

    spec = subject.served.spec
    shape = (spec.frames, spec.crop, spec.crop, 3)
    decoding, asking = [], []
    async with worker(address, transport, subject.clips[0].nbytes + 4096, gpu) as (pool, triton):
        (offset,) = await pool.acquire(1)
        for number in range(TIMES + 1):
            begun = time.perf_counter()
            video = decord.VideoReader(str(FILM), width=spec.crop, height=spec.crop, num_threads=1)
            frames = np.linspace(0, len(video) - 1, spec.frames).astype(int).tolist()
            pool.view(offset, shape)[:] = video.get_batch(frames).asnumpy()
            decoded = time.perf_counter()
            await triton.infer(subject.name, "1", offset, shape)
            if number:  # the first one loads the decoder
                decoding.append(decoded - begun)
                asking.append(time.perf_counter() - decoded)
        pool.release(offset)
    return {"decode_ms": float(np.median(decoding)) * 1e3, "scores_ms": float(np.median(asking)) * 1e3}


__all__ = ["measure"]
