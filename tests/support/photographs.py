"""Photographs that come with scikit-image, as files and films."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.films import Frame, write_video
from triton_repo.zoo.training.camera_motion.scenes import bundled

SIZE = (640, 480)
FPS = 24


def photograph_file(name: str, kind: str = "JPEG") -> bytes:
    """Return the photograph `name` of skimage.data as a file of Pillow's format `kind`."""
    file = io.BytesIO()
    Image.fromarray(bundled(name)).save(file, kind)
    return file.getvalue()


def film_of_photographs(path: Path, names: Sequence[str], seconds: float = 3.0) -> Path:
    """Write a film that shows each photograph of skimage.data for `seconds`, and moves towards its middle meanwhile."""
    count = round(seconds * FPS)
    frames = [_view(Image.fromarray(bundled(name)), index / count) for name in names for index in range(count)]
    return write_video(path, frames, fps=FPS)


def _view(photograph: Image.Image, progress: float) -> Frame:
    """Return the frame at `progress` (0 to 1): the middle of the photograph, a tenth of it closer at the end."""
    share = 1 - progress / 10
    width = int(min(photograph.width, photograph.height * SIZE[0] / SIZE[1]) * share)
    height = int(width * SIZE[1] / SIZE[0])
    left, top = (photograph.width - width) / 2, (photograph.height - height) / 2
    return np.asarray(photograph.resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + width, top + height)))
