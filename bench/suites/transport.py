"""What does a tensor's way to Triton and back cost, by its size: shared memory, inline gRPC, HTTP?

The model does nothing but read one pixel, so all of the time is the way. The client is the app's own for shared
memory and gRPC (app/inference/client.py), and Triton's for HTTP. The ways take turns, and what one of them moves the next one
finds the caches full of: so the way of one clip is measured by itself besides.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.inference.client import Triton
from app.shm.pool import SlotPool
from bench.fixtures import networks, servers
from bench.profile import Profile
from bench.stats import ratio, spread
from triton_repo.zoo.export.spec import ClipSpec, Description

# Frames of 224 x 224 for so many MB (10^6); 16 are one clip of X3D-M, 2.4 MB
SIZES = {"2.4": 16, "8": 53, "24": 160, "48": 319, "96": 638}
SLOT_BYTES = 100 << 20
MOST_S = 2.5  # of one way with one size
AGAIN = 300


class NullBackend(nn.Module):
    """Two scores of (B, T, H, W, 3) uint8: from the first two colours of the first pixel, nothing else is read."""

    def forward(self, clip: Tensor) -> Tensor:
        return clip[:, 0, 0, 0, :2].float().softmax(1)


def measured(effort: Profile) -> dict[str, Any]:
    told: dict[str, Any] = {"about": "A model that reads one pixel, in Triton, one request after the other, in turns."}
    with servers.triton(repository()) as (grpc, http):
        told["sizes"] = asyncio.run(_all(grpc, http, effort))
        told["overhead_ms"] = asyncio.run(_alone(grpc))
    return told


def repository(folder: Path = networks.FOLDER) -> Path:
    """A model folder for each size."""
    models = folder / "models" / "nothing"
    for frames in SIZES.values():
        if not (models / f"nothing_{frames}" / "1" / "model.xml").exists():
            described = Description("nothing", ClipSpec("video", frames, 1, 30, 224, 224), ("0", "1"))
            example = torch.zeros(1, frames, 224, 224, 3, dtype=torch.uint8)
            networks.write_as_it_is(NullBackend(), example, f"nothing_{frames}", described, models)
    return models


async def _all(grpc: str, http: str, effort: Profile) -> dict[str, Any]:
    slots = SlotPool(1, SLOT_BYTES)
    shared, inline = Triton(grpc, slots, "shm"), Triton(grpc, slots, "inline")
    try:
        (offset,) = await slots.acquire(1)
        return {size: await _one(shared, inline, http, offset, frames, effort) for size, frames in SIZES.items()}
    finally:
        for client in (shared, inline):
            await client.close()
        slots.close()


async def _alone(grpc: str) -> dict[str, Any]:
    """Milliseconds of a clip of 2.4 MB by shared memory, again and again and nothing else."""
    slots = SlotPool(1, SLOT_BYTES)
    client, name, shape = Triton(grpc, slots, "shm"), f"nothing_{SIZES['2.4']}", (SIZES["2.4"], 224, 224, 3)
    try:
        (offset,) = await slots.acquire(1)
        spent = []
        for _ in range(AGAIN):
            began = time.perf_counter()
            await client.infer(name, "1", offset, shape)
            spent.append((time.perf_counter() - began) * 1e3)
        return spread(spent[AGAIN // 10 :]).facts()
    finally:
        await client.close()
        slots.close()


async def _one(shared: Triton, inline: Triton, http: str, offset: int, frames: int, effort: Profile) -> dict[str, Any]:
    name, shape = f"nothing_{frames}", (frames, 224, 224, 3)
    by_http = Http(http, name, shape)
    times: dict[str, list[float]] = {"shm_ms": [], "inline_ms": [], "http_ms": []}
    try:
        for number in range(effort.repeats + 2):
            began = time.perf_counter()
            scores = (await shared.infer(name, "1", offset, shape)).values
            between = time.perf_counter()
            same = (await inline.infer(name, "1", offset, shape)).values
            ended = time.perf_counter()
            also = by_http.infer()
            all_ms = [(between - began) * 1e3, (ended - between) * 1e3, (time.perf_counter() - ended) * 1e3]
            if not (np.allclose(scores, same) and np.allclose(scores, also)):
                raise ValueError(f"{name} answers differently by another way: {scores}, {same}, {also}")
            if number >= 2:  # the first of each opens connections and memory
                for way, spent in zip(times, all_ms, strict=True):
                    times[way].append(spent)
            if number >= 5 and sum(map(sum, times.values())) > MOST_S * 1e3 * len(times):
                break
    finally:
        by_http.close()
    told: dict[str, Any] = {way: spread(figures).facts() for way, figures in times.items()}
    labels = [{name: "the same scores"}] * 2  # looked at above, in every turn
    return told | {
        "inline_over_shm": ratio(times["inline_ms"], times["shm_ms"], labels).facts(),
        "bytes": int(np.prod(shape)),
    }


class Http:
    """The same clip inside an HTTP request, by Triton's own client."""

    def __init__(self, address: str, name: str, shape: tuple[int, ...]) -> None:
        from tritonclient.http import InferenceServerClient

        self._client = InferenceServerClient(address, network_timeout=60, connection_timeout=60)
        self._name, self._clip = name, np.zeros((1, *shape), np.uint8)

    def infer(self) -> Any:
        from tritonclient.http import InferInput, InferRequestedOutput

        given = InferInput("CLIP", list(self._clip.shape), "UINT8")
        given.set_data_from_numpy(self._clip, binary_data=True)
        outputs = [InferRequestedOutput("SCORES", binary_data=True)]
        return self._client.infer(self._name, [given], outputs=outputs).as_numpy("SCORES")[0]

    def close(self) -> None:
        self._client.close()


__all__ = ["SIZES", "measured"]
