"""Cost of passing a tensor to Triton and back by shared memory and by inline gRPC, by size.

The model reads only one pixel, so that all of the time is transport. The client is the app's own
(app/inference/client.py). The transports take turns, and each leaves the CPU caches full for the next one, so shared
memory is also measured alone.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.inference.client import ClipInput, Triton
from app.shm.pool import SlotPool
from bench.fixtures import networks, servers
from bench.profile import Profile
from bench.stats import ratio, spread
from triton_repo.zoo.spec import ClipSpec, Description

# Frames of 224 x 224 for each size in MB (10^6); 16 are one clip of X3D-M, 2.4 MB
SIZES = {"2.4": 16, "24": 160, "96": 638}
CLIP_MB = "2.4"
SLOT_BYTES = 100 << 20
ALONE = 300  # requests by shared memory alone
WARM_UP = 2  # rounds that open connections and allocate memory


class NullBackend(nn.Module):
    """Model that reads only the first two colours of the first pixel: uint8 (B, T, H, W, 3) -> scores (B, 2)."""

    def forward(self, clip: Tensor) -> Tensor:
        """Return two scores (B, 2)."""
        return clip[:, 0, 0, 0, :2].float().softmax(1)


def measure(profile: Profile) -> dict[str, Any]:
    with servers.triton(repository()) as (address, _):
        return asyncio.run(_measure(address, profile))


def repository(folder: Path = networks.FOLDER) -> Path:
    """Return a folder with one model for each size."""
    models = folder / "models" / "nothing"
    for frames in SIZES.values():
        if not (models / f"nothing_{frames}" / "1" / "model.xml").exists():
            described = Description("nothing", ClipSpec("video", frames, 1, 30, 224, 224), ("0", "1"))
            example = torch.zeros(1, frames, 224, 224, 3, dtype=torch.uint8)
            networks.write_plain_model(NullBackend(), example, f"nothing_{frames}", described, models)
    return models


async def _measure(address: str, profile: Profile) -> dict[str, Any]:
    slots = SlotPool(1, SLOT_BYTES)
    clients = {"shm_ms": Triton(address, slots, "shm"), "inline_ms": Triton(address, slots, "inline")}
    try:
        (offset,) = await slots.acquire(1)
        sizes = {size: await _turns(clients, offset, frames, profile.repeats) for size, frames in SIZES.items()}
        alone = [(await _timed(clients["shm_ms"], offset, SIZES[CLIP_MB]))[0] for _ in range(ALONE)]
    finally:
        for client in clients.values():
            await client.close()
        slots.close()
    return {
        "about": "A model that reads one pixel, in Triton, one request after the other, in turns.",
        "sizes": sizes,
        "overhead_ms": spread(alone[ALONE // 10 :]).as_dict(),
    }


async def _turns(clients: dict[str, Triton], offset: int, frames: int, turns: int) -> dict[str, Any]:
    """Return the milliseconds of each transport, and inline gRPC over shared memory."""
    times: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(turns + WARM_UP):
        answers = []
        for name, client in clients.items():
            spent_ms, scores = await _timed(client, offset, frames)
            times[name].append(spent_ms)
            answers.append(scores)
        if not np.allclose(*answers):
            raise ValueError(f"{frames} frames: {list(clients)} give different scores: {answers}")
    times = {name: figures[WARM_UP:] for name, figures in times.items()}
    labels = [{"clip": "the same scores"}] * 2  # checked above in every turn
    over = ratio(times["inline_ms"], times["shm_ms"], labels)
    return {name: spread(figures).as_dict() for name, figures in times.items()} | {"inline_over_shm": over.as_dict()}


async def _timed(client: Triton, offset: int, frames: int) -> tuple[float, Any]:
    """Return the milliseconds of one inference, and its scores."""
    began = time.perf_counter()
    result = await client.infer(ClipInput(f"nothing_{frames}", "1", offset, (frames, 224, 224, 3)))
    return (time.perf_counter() - began) * 1e3, result.values
