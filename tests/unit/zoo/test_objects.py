"""The committed `objects` model, and its preprocessing compared with Google's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.media.frames import centre_crop, scaled_size
from tests.support.films import texture

COMMITTED = Path(__file__).parents[3] / "triton_repo" / "models" / "objects"
SIZE, RESIZE, CROP_FRACTION = 224, 256, 0.875
SIZES = [(640, 480), (480, 640), (1000, 300), (257, 256), (1920, 1080), (225, 231)]


def reference_window(width: int, height: int) -> tuple[int, int, int]:
    """Return left, top and side of the square that preprocessing.py of tensorflow/tpu crops before scaling."""
    padding = round(SIZE * (1 / CROP_FRACTION - 1))
    side = int(SIZE / (SIZE + padding) * min(width, height))
    return (width - side + 1) // 2, (height - side + 1) // 2, side


def test_labels_are_the_1000_of_imagenet_each_once() -> None:
    labels = (COMMITTED / "labels.txt").read_text().splitlines()
    assert len(labels) == len(set(labels)) == 1000
    assert [labels[index] for index in (0, 282, 504, 967, 999)] == [
        *("tench", "tiger cat", "coffee mug", "espresso", "toilet tissue"),
    ]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_window_is_googles_up_to_a_pixel(width: int, height: int) -> None:
    scaled = scaled_size(width, height, RESIZE)
    rows, columns = np.mgrid[: scaled[1], : scaled[0]].astype(np.float32)
    seen = centre_crop(np.stack([columns, rows, rows], axis=-1), SIZE)
    step = width / scaled[0], height / scaled[1]
    left, top, side = reference_window(width, height)
    assert seen[0, 0, 0] * step[0] == pytest.approx(left, abs=1.5 * step[0] + 1)
    assert seen[0, 0, 1] * step[1] == pytest.approx(top, abs=1.5 * step[1] + 1)
    assert SIZE * step[0] == pytest.approx(side, abs=1.5 * step[0] + 1)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pixels_are_close_to_googles(width: int, height: int) -> None:
    picture = Image.fromarray(texture(width, height, seed=5))
    left, top, side = reference_window(width, height)
    window = picture.crop((left, top, left + side, top + side))
    expected = np.asarray(window.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.int16)
    scaled = picture.resize(scaled_size(width, height, RESIZE), Image.Resampling.BILINEAR)
    seen = centre_crop(np.asarray(scaled), SIZE).astype(np.int16)
    assert np.abs(seen - expected).mean() < 6
    assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.97
