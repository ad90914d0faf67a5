"""The torch engine on a GPU: every layout right, every batch its own answers, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.gpu import engine as gpu_engine
from bench.gpu.networks import SIZES, BenchModel, subject, write_model
from triton_repo.backends.clip.clip_engines.torch_engine import TorchEngine

MOST = 8


@pytest.fixture(scope="module", params=SIZES)
def made(request: pytest.FixtureRequest, gpu: int, tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchModel, Path]:
    """A network of published size, and the folder of its version."""
    one = subject(request.param, f"cuda:{gpu}", small=False)
    return one, write_model(one, tmp_path_factory.mktemp("models"), {}) / "1"


def test_every_layout_answers_as_float32_does(made: tuple[BenchModel, Path], gpu: int) -> None:
    rows = gpu_engine.check(*made, f"cuda:{gpu}")
    assert all(row["good"] for row in rows), rows
    assert any("absent" not in row for row in rows)


@pytest.fixture(scope="module")
def engine(made: tuple[BenchModel, Path], gpu: int) -> TorchEngine:
    engine = TorchEngine(made[1], {"precision": "bf16", "device": f"cuda:{gpu}"}, MOST)
    engine.warm_up()
    return engine


@pytest.mark.parametrize("count", [1, 2, 3, 5, MOST, MOST + 3])
def test_clip_s_scores_do_not_depend_on_its_batch(
    made: tuple[BenchModel, Path], engine: TorchEngine, count: int
) -> None:
    clips = np.resize(made[0].clips, (count, *made[0].clips.shape[1:]))
    alone = np.concatenate([engine.infer(clip[None]) for clip in clips])
    np.testing.assert_allclose(engine.infer(clips), alone, atol=2e-2)


def test_clips_on_gpu_and_on_host_are_taken_together(
    made: tuple[BenchModel, Path], engine: TorchEngine, gpu: int
) -> None:
    host = [torch.from_numpy(clip[None].copy()) for clip in made[0].clips]
    mixed = [part.to(f"cuda:{gpu}") if number % 2 else part for number, part in enumerate(host)]
    capsules = [torch.utils.dlpack.to_dlpack(part) for part in mixed]
    np.testing.assert_array_equal(engine.infer_dlpack(capsules), engine.infer_tensors(host))


def test_a_thousand_runs_take_no_more_memory(made: tuple[BenchModel, Path], engine: TorchEngine) -> None:
    clip = made[0].clips[:1]
    for _ in range(10):
        engine.infer(clip)
    before = torch.cuda.mem_get_info()[0]
    for _ in range(1000):
        engine.infer(clip)
    assert torch.cuda.mem_get_info()[0] >= before
