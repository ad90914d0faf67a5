"""CUDA's shared memory end to end on a GPU: the app's own client, the real Triton, a worker that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import gpu_path
from bench.gpu_networks import Subject, subject, write_model
from deploy.gpu_models import folder

PAGE = 2 << 20  # what CUDA takes and gives back at a time
CLOSE = 0.2  # of bf16: how close it is, tests/gpu/test_gpu_engine.py looks at


@pytest.fixture(scope="module")
def served(gpu: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Subject, Path]]:
    """Triton's address, what it serves on the GPU, and its run folder."""
    place = tmp_path_factory.mktemp("gpu")
    one = subject("x3d_m", f"cuda:{gpu}", small=False)
    write_model(one, place / "models", {})
    with gpu_path.running_triton(place / "models", place / "run", batch=8, precision="bf16") as address:
        yield address, one, place / "run"


def used() -> int:
    free, total = torch.cuda.mem_get_info()
    return total - free


def test_the_model_is_placed_on_the_gpu(served: tuple[str, Subject, Path]) -> None:
    text = (folder(served[2]) / "x3d_m" / "config.pbtxt").read_text()
    assert "KIND_GPU" in text and "FORCE_CPU_ONLY_INPUT_TENSORS" in text


@pytest.mark.parametrize("way", gpu_path.WAYS)
def test_clips_get_their_scores_by_every_way(served: tuple[str, Subject, Path], gpu: int, way: str) -> None:
    address, one, _ = served
    told = asyncio.run(gpu_path.measure(address, one, way, gpu, CLOSE))
    assert told["senders"]["16"]["clips_per_s"] > 0


def test_a_thousand_requests_take_no_more_memory_of_the_gpu(served: tuple[str, Subject, Path], gpu: int) -> None:
    address, one, _ = served
    told = asyncio.run(gpu_path.growth(address, one, "cuda", gpu, used, 1000))
    assert told["growth_bytes"] <= PAGE


def test_a_killed_worker_leaves_no_memory_on_the_gpu(served: tuple[str, Subject, Path], gpu: int) -> None:
    address, one, _ = served
    told = asyncio.run(gpu_path.killed(address, one, "cuda", gpu, used))
    assert told["held_bytes"] > PAGE
    assert told["left_bytes"] <= PAGE
