"""A tiny network for all engines: its configuration, and the expected_scores scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from triton_repo.backends.clip import clip_engines
from triton_repo.zoo.spec import ClipSpec, NetworkSpec, ServedNetwork

LAYERS = torch.nn.Conv2d(3, 6, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 4)


SERVED = NetworkSpec(
    torch.nn.Sequential(*LAYERS),
    "tiny",
    ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=16, crop=16),
    ("a", "b", "c", "d"),
    (0.5,) * 3,
    (0.05,) * 3,
)


BACKEND = Path(clip_engines.__file__).parents[1]


MAX_BATCH = 4


TOLERANCE = {"f32": 1e-5, "bf16": 2e-2, "f16": 3e-3}


def config(engine: str, **more: str) -> dict[str, Any]:
    parameters = {"engine": engine, "precision": "f32"} | more
    return {
        "max_batch_size": MAX_BATCH,
        "input": [{"dims": [1, 16, 16, 3]}],
        "output": [{"dims": [4], "label_filename": "labels.txt"}],
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }


def expected_scores(clips: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        scores: np.ndarray = ServedNetwork(SERVED).eval()(torch.from_numpy(clips.copy())).numpy()
    return scores
