"""Films of a known camera movement, for tests of the default model through the whole service."""

from pathlib import Path

import numpy as np

from triton_repo.zoo.training.camera_motion.paths import random_path
from triton_repo.zoo.training.camera_motion.render import encode
from triton_repo.zoo.training.camera_motion.scenes import photograph, render


def film_movement(
    path: Path, label: str, *, seconds: float = 2.0, fps: int = 30, width: int = 320, height: int = 240, seed: int = 1
) -> Path:
    """Write an H.264 file of a photograph outside the training data, under the camera movement `label`."""
    camera = random_path(label, np.arange(round(seconds * fps)) / fps, np.random.default_rng(seed))
    path.write_bytes(encode(render(photograph("cat"), camera, width, height, 0.5, (0.5, 0.5)), fps, quality=23))
    return path
