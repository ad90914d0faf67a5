"""Cost of passing a tensor to Triton and back, by size: shared memory, inline gRPC and HTTP.

The model reads only one pixel, so that all of the time is transport. The client is the app's own for shared memory and
gRPC (app/inference/client.py), and Triton's for HTTP. The transports take turns, and each leaves the CPU caches full
for the next one, so shared memory is also measured alone.
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

# Frames of 224 x 224 for each size in MB (10^6); 16 are one clip of X3D-M, 2.4 MB
SIZES = {"2.4": 16, "24": 160, "96": 638}
SLOT_BYTES = 100 << 20
MOST_S = 2.5  # of one transport with one size
AGAIN = 300


class NullBackend(nn.Module):
    """Model that reads only the first two colours of the first pixel: uint8 (B, T, H, W, 3) -> scores (B, 2)."""

    def forward(self, clip: Tensor) -> Tensor:
        """Return two scores (B, 2)."""
        return clip[:, 0, 0, 0, :2].float().softmax(1)


def measure(profile: Profile) -> dict[str, Any]:
    """Measure all sizes and return the figures."""
    result: dict[str, Any] = {
        "about": "A model that reads one pixel, in Triton, one request after the other, in turns."
    }
    with servers.triton(repository()) as (grpc, http):
        result["sizes"] = asyncio.run(_all(grpc, http, profile))
        result["overhead_ms"] = asyncio.run(_alone(grpc))
    return result


def repository(folder: Path = networks.FOLDER) -> Path:
    """Return a folder with one model for each size."""
    models = folder / "models" / "nothing"
    for frames in SIZES.values():
        if not (models / f"nothing_{frames}" / "1" / "model.xml").exists():
            described = Description("nothing", ClipSpec("video", frames, 1, 30, 224, 224), ("0", "1"))
            example = torch.zeros(1, frames, 224, 224, 3, dtype=torch.uint8)
            networks.write_plain_model(NullBackend(), example, f"nothing_{frames}", described, models)
    return models


async def _all(grpc: str, http: str, profile: Profile) -> dict[str, Any]:
    slots = SlotPool(1, SLOT_BYTES)
    shared, inline = Triton(grpc, slots, "shm"), Triton(grpc, slots, "inline")
    try:
        (offset,) = await slots.acquire(1)
        return {size: await _one(shared, inline, http, offset, frames, profile) for size, frames in SIZES.items()}
    finally:
        for client in (shared, inline):
            await client.close()
        slots.close()


async def _alone(grpc: str) -> dict[str, Any]:
    """Return the milliseconds of a 2.4 MB clip by shared memory, measured alone."""
    slots = SlotPool(1, SLOT_BYTES)
    client, name, shape = Triton(grpc, slots, "shm"), f"nothing_{SIZES['2.4']}", (SIZES["2.4"], 224, 224, 3)
    try:
        (offset,) = await slots.acquire(1)
        spent = []
        for _ in range(AGAIN):
            began = time.perf_counter()
            await client.infer(name, "1", offset, shape)
            spent.append((time.perf_counter() - began) * 1e3)
        return spread(spent[AGAIN // 10 :]).as_dict()
    finally:
        await client.close()
        slots.close()


async def _one(shared: Triton, inline: Triton, http: str, offset: int, frames: int, profile: Profile) -> dict[str, Any]:
    name, shape = f"nothing_{frames}", (frames, 224, 224, 3)
    by_http = Http(http, name, shape)
    times: dict[str, list[float]] = {"shm_ms": [], "inline_ms": [], "http_ms": []}
    try:
        for number in range(profile.repeats + 2):
            began = time.perf_counter()
            scores = (await shared.infer(name, "1", offset, shape)).values
            between = time.perf_counter()
            inline_scores = (await inline.infer(name, "1", offset, shape)).values
            ended = time.perf_counter()
            http_scores = by_http.infer()
            all_ms = [(between - began) * 1e3, (ended - between) * 1e3, (time.perf_counter() - ended) * 1e3]
            if not (np.allclose(scores, inline_scores) and np.allclose(scores, http_scores)):
                raise ValueError(f"{name} answers differently by another way: {scores}, {inline_scores}, {http_scores}")
            if number >= 2:  # the first ones open connections and allocate memory
                for way, spent in zip(times, all_ms, strict=True):
                    times[way].append(spent)
            if number >= 5 and sum(map(sum, times.values())) > MOST_S * 1e3 * len(times):
                break
    finally:
        by_http.close()
    result: dict[str, Any] = {way: spread(figures).as_dict() for way, figures in times.items()}
    labels = [{name: "the same scores"}] * 2  # checked above in every turn
    return result | {
        "inline_over_shm": ratio(times["inline_ms"], times["shm_ms"], labels).as_dict(),
        "bytes": int(np.prod(shape)),
    }


class Http:
    """The same clip in an HTTP request, by Triton's own client."""

    def __init__(self, address: str, name: str, shape: tuple[int, ...]) -> None:
        from tritonclient.http import InferenceServerClient

        self._client = InferenceServerClient(address, network_timeout=60, connection_timeout=60)
        self._name, self._clip = name, np.zeros((1, *shape), np.uint8)

    def infer(self) -> Any:
        """Send the clip and return its scores."""
        from tritonclient.http import InferInput, InferRequestedOutput

        infer_input = InferInput("CLIP", list(self._clip.shape), "UINT8")
        infer_input.set_data_from_numpy(self._clip, binary_data=True)
        outputs = [InferRequestedOutput("SCORES", binary_data=True)]
        return self._client.infer(self._name, [infer_input], outputs=outputs).as_numpy("SCORES")[0]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


__all__ = ["SIZES", "measure"]
