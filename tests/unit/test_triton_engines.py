"""Loading of a model version by the backend, without Triton."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from triton_repo.backends.clip.clip_engines import EngineError, load_engine
from triton_repo.zoo.export import example_clips, write_model
from triton_repo.zoo.served import ClipSpec, Served, ServedNetwork

SERVED = Served(
    torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4)),
    "tiny",
    ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=16, crop=16),
    ("a", "b", "c", "d"),
    (0.5,) * 3,
    (0.05,) * 3,
)
CONFIG: dict[str, Any] = {
    "input": [{"dims": [1, 16, 16, 3]}],
    "output": [{"dims": [4], "label_filename": "labels.txt"}],
    "parameters": {"engine": {"string_value": "openvino"}, "precision": {"string_value": "f32"}},
}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(SERVED, "tiny", tmp_path_factory.mktemp("models")) / "1"


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_every_clip_of_a_batch_gets_its_own_scores(version: Path, batch: int) -> None:
    engine = load_engine(CONFIG, version)
    clips = example_clips(SERVED, batch)
    with torch.no_grad():
        wanted = ServedNetwork(SERVED).eval()(torch.from_numpy(clips)).numpy()
    first = engine.infer(clips)
    engine.infer(clips[::-1])
    assert first.dtype == np.float32
    np.testing.assert_allclose(first, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("input", [{"dims": [1, 8, 8, 3]}], r"clips of \(1, 8, 8, 3\), the model takes \(1, 16, 16, 3\)"),
        ("output", [{"dims": [5], "label_filename": "labels.txt"}], "says 5 classes, the model gives 4"),
        ("parameters", {"engine": {"string_value": "abacus"}}, "engine is 'abacus', known are openvino"),
        ("parameters", {"precision": {"string_value": "f7"}}, "precision is 'f7', known are f32, bf16"),
    ],
    ids=["clip", "classes", "engine", "precision"],
)
def test_a_config_that_contradicts_the_model_is_refused(version: Path, part: str, value: object, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        load_engine(copy.deepcopy(CONFIG) | {part: value}, version)


def test_a_model_that_was_not_exported_is_named(version: Path) -> None:
    with pytest.raises(EngineError, match=r"2/model\.xml is missing: export the model first"):
        load_engine(CONFIG, version.with_name("2"))


def test_a_damaged_model_is_refused(version: Path) -> None:
    damaged = version.with_name("3")
    damaged.mkdir()
    (damaged / "model.xml").write_text("<net")
    with pytest.raises(EngineError, match=r"3/model\.xml"):
        load_engine(CONFIG, damaged)
