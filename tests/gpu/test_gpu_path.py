"""CUDA's shared memory end to end on a GPU: the app's own client, the real Triton, a worker that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.shm import cuda_region
from bench.gpu import memory, path, server
from bench.gpu.networks import BenchModel, subject, write_model
from deploy.gpu.placement import folder

CLOSE = 0.05  # of bf16: how close it is, tests/gpu/test_gpu_engine.py looks at


@pytest.fixture(scope="module")
def served(gpu: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, BenchModel, Path]]:
    """Triton's address, what it serves on the GPU, and its run folder."""
    place = tmp_path_factory.mktemp("gpu")
    one = subject("x3d_m", f"cuda:{gpu}", small=False)
    write_model(one, place / "models", {})
    with server.running_triton(place / "models", place / "run", batch=8, precision="bf16") as address:
        yield address, one, place / "run"


def test_the_model_is_placed_on_the_gpu(served: tuple[str, BenchModel, Path]) -> None:
    text = (folder(served[2]) / "x3d_m" / "config.pbtxt").read_text()
    assert "KIND_GPU" in text and cuda_region.INPUT in text


@pytest.mark.parametrize("way", path.WAYS)
def test_clips_get_their_scores_by_every_way(served: tuple[str, BenchModel, Path], gpu: int, way: str) -> None:
    address, one, _ = served
    result = asyncio.run(path.measure(address, one, way, gpu, CLOSE, seconds=1.0))
    assert result["senders"]["16"]["clips_per_s"] > 0


def test_thousand_requests_take_no_more_memory_of_gpu(served: tuple[str, BenchModel, Path], gpu: int) -> None:
    address, one, _ = served
    result = asyncio.run(memory.growth(address, one, "cuda", gpu, memory.of_gpu, 1000))
    assert result["growth_bytes"] <= memory.PAGE_BYTES


def test_killed_worker_leaves_no_memory_on_gpu(served: tuple[str, BenchModel, Path], gpu: int) -> None:
    address, one, _ = served
    result = asyncio.run(memory.killed(address, one, "cuda", gpu, memory.of_gpu))
    assert result["held_bytes"] > memory.PAGE_BYTES
    assert result["left_bytes"] <= memory.PAGE_BYTES
