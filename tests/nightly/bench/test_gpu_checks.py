"""The check of answers before every measurement on a GPU, run on a CPU: only right answers pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gpu import engine as gpu_engine
from bench.gpu.networks import RESNET, BenchModel, subject, write_model
from triton_repo.backends.clip.clip_engines.torch_program import LAYOUTS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchModel, Path]:
    """A network for small clips, and the folder of its version."""
    one = subject(RESNET, "cpu", small=True)
    return one, write_model(one, tmp_path_factory.mktemp("models"), {}) / "1"


@pytest.fixture(scope="module")
def rows(made: tuple[BenchModel, Path]) -> list[dict[str, Any]]:
    return gpu_engine.check(*made, "cpu")


def test_right_answers_are_good_in_every_layout_and_precision(rows: list[dict[str, Any]]) -> None:
    assert [(row["precision"], row["layout"]) for row in rows] == [
        (precision, layout) for precision in ("f32", "bf16") for layout in LAYOUTS
    ]
    assert all(row["good"] for row in rows), rows


def test_answers_of_another_clip_are_wrong_in_every_precision(
    made: tuple[BenchModel, Path], rows: list[dict[str, Any]]
) -> None:
    one, folder = made
    exchanged = replace(one, clips=np.roll(one.clips, 1, axis=0))
    allowed = max(row["allowed"] for row in rows)
    engine = gpu_engine.TorchEngine(folder, {"precision": "bf16", "device": "cpu"}, len(one.clips))
    off = np.abs(engine.infer(exchanged.clips) - one.right).max()
    assert off > 2 * allowed, (off, allowed)
