"""Features beside the scores: the input of the last linear layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.integration.zoo.engines.engine_model import LAYERS, MAX_BATCH, SERVED, config, expected_scores
from triton_repo.backends.clip.clip_engines import load_engine
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import example_clips, write_model
from triton_repo.zoo.spec import Scoring, ServedNetwork


def features_of(clips: np.ndarray) -> np.ndarray:
    headless = torch.nn.Sequential(*LAYERS[:-1])
    with torch.no_grad():
        network = ServedNetwork(replace(SERVED, network=headless)).eval()
        features: np.ndarray = network.logits(torch.from_numpy(clips.copy())).numpy()
    return features


@pytest.mark.parametrize("batch", [1, MAX_BATCH + 3])
def test_rows_are_scores_and_features(engine: str, version: Path, batch: int) -> None:
    loaded = load_engine(config(engine), version)
    loaded.warm_up()
    clips = example_clips(SERVED, batch)
    rows = loaded.infer_rows(clips)
    assert loaded.features == (6 if engine in ("openvino", "torch") else 0)
    assert rows.shape == (batch, 4 + loaded.features)
    np.testing.assert_allclose(rows[:, :4], expected_scores(clips), atol=1e-5)
    if loaded.features:
        np.testing.assert_allclose(rows[:, 4:], features_of(clips), atol=1e-4)


@pytest.mark.parametrize("scoring", [Scoring("sigmoid", 2.0), Scoring("softmax", 0.5)])
def test_features_exist_with_temperature_and_sigmoid(tmp_path: Path, scoring: Scoring) -> None:
    served = replace(SERVED, scoring=scoring)
    version = write_model(served, "tiny", tmp_path) / "1"
    engine_files.make("torch", "f32", served, version)
    clips = example_clips(SERVED, 2)
    for name in ("openvino", "torch"):
        rows = load_engine(config(name), version).infer_rows(clips)
        np.testing.assert_allclose(rows[:, 4:], features_of(clips), atol=1e-4, err_msg=name)


def test_network_without_last_linear_layer_has_no_features(tmp_path: Path) -> None:
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    served = replace(SERVED, network=torch.nn.Sequential(*layers))
    version = write_model(served, "tiny", tmp_path) / "1"
    engine_files.make("torch", "f32", served, version)
    for name in ("openvino", "torch"):
        loaded = load_engine(config(name), version)
        assert (loaded.features, loaded.infer_rows(example_clips(served, 2)).shape) == (0, (2, 4)), name
