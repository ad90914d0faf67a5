"""Camera paths: the picture moves against the camera."""

import cv2
import numpy as np
import pytest

from triton_repo.zoo.training.camera_motion.paths import LABELS, random_path
from triton_repo.zoo.training.camera_motion.scenes import render

TIMES = np.arange(8) * 4 / 30
SIZE = 96


def displacement(label: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the optical flow of the picture from the first to the last frame, and its positions.

    Both (n, 2), in pixels from the middle, x to the right and y down.
    """
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0, 255, (40, 40, 3)).astype(np.float32)
    scene = cv2.resize(noise, (640, 640), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    clip = render(scene, random_path(label, TIMES, rng), SIZE, SIZE, 0.4, (0.5, 0.5))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    flow = sum(
        cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 4, 21, 5, 7, 1.5, 0) for a, b in zip(grey, grey[1:], strict=False)
    )
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    middle = (np.abs(x) < SIZE / 3) & (np.abs(y) < SIZE / 3)
    return np.asarray(flow)[middle], np.stack([x, y], axis=-1)[middle]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("label", "axis", "sign"),
    [("pan_left", 0, 1), ("pan_right", 0, -1), ("tilt_up", 1, 1), ("tilt_down", 1, -1)],
)
def test_the_picture_moves_against_the_camera(label: str, axis: int, sign: int, seed: int) -> None:
    flow, _ = displacement(label, seed)
    mean = flow.mean(axis=0)
    assert sign * mean[axis] > 1
    assert abs(mean[axis]) > 2 * abs(mean[1 - axis])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("label", "sign"), [("zoom_in", 1), ("zoom_out", -1)])
def test_the_picture_grows_when_the_camera_zooms_in(label: str, sign: int, seed: int) -> None:
    flow, place = displacement(label, seed)
    assert sign * (flow * place).sum() > 0.05 * (place**2).sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("label", "sign"), [("roll_cw", -1), ("roll_ccw", 1)])
def test_the_picture_turns_against_the_camera(label: str, sign: int, seed: int) -> None:
    flow, place = displacement(label, seed)
    clockwise = place[:, 0] * flow[:, 1] - place[:, 1] * flow[:, 0]  # with y down, x cross y is clockwise
    assert sign * clockwise.sum() > 0.05 * (place**2).sum()


@pytest.mark.parametrize("seed", range(3))
def test_static_stays_and_shake_returns(seed: int) -> None:
    still, shaken = (random_path(label, TIMES, np.random.default_rng(seed)) for label in ("static", "shake"))
    assert np.ptp(still.x) < 0.01
    assert np.ptp(shaken.x) > 4 * np.ptp(still.x)
    assert (np.diff(np.sign(np.diff(shaken.x))) != 0).any()


@pytest.mark.parametrize("label", LABELS)
def test_the_same_seed_gives_the_same_path(label: str) -> None:
    first, again = (random_path(label, TIMES, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.x, again.x) and np.array_equal(first.roll, again.roll)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="dolly"):
        random_path("dolly", TIMES, np.random.default_rng(0))
