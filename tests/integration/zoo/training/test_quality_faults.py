"""Synthetic faults have their stated amounts, with a gap between 'sharp' and every fault."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from triton_repo.zoo.architectures import quality_labels as amounts
from triton_repo.zoo.training.camera_motion.scenes import HELD_OUT_PHOTOGRAPHS, Image
from triton_repo.zoo.training.frame_quality.defects import add_noise, amount_at, apply_fault, brightness, disc, stroke
from triton_repo.zoo.training.frame_quality.scenes import (
    TRAINING_PHOTOGRAPHS,
    Scenes,
    add_letterbox,
    adjust_light,
    detail,
    detailed,
    photograph,
    random_part,
    well_lit,
)

SCALE = 1.5
PARTS = [0.0, 0.5, 1.0]


@pytest.fixture(scope="module")
def picture() -> Image:
    """A sharp, well lit photograph, 1.5 times as large as the network's input."""
    rng = np.random.default_rng(1)
    return random_part(photograph("stereo_motorcycle"), amounts.VIEW, SCALE, rng)


def spoiled(label: str, picture: Image, part: float, seed: int = 0) -> Image:
    return apply_fault(label, picture, SCALE, part, np.random.default_rng(seed))


def seen(picture: Image) -> Image:
    """Return the picture at the size of the network's input."""
    return np.asarray(cv2.resize(picture, None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("label", amounts.LABELS)
def test_fault_keeps_shape_and_is_same_again(label: str, picture: Image) -> None:
    made = spoiled(label, picture, 0.5)
    assert (made.shape, made.dtype) == (picture.shape, np.uint8)
    np.testing.assert_array_equal(made, spoiled(label, picture, 0.5))


def test_amounts_go_from_faintest_to_strongest_in_equal_ratios() -> None:
    assert [amount_at((2, 8), part) for part in PARTS] == pytest.approx([2, 4, 8])
    assert [amount_at((12, 3), part) for part in PARTS] == pytest.approx([12, 6, 3])


@pytest.mark.parametrize("radius", [2.0, 5.5, 30.0])
def test_disc_has_its_stated_size(radius: float) -> None:
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(np.pi * radius**2, rel=0.06)
    assert (kernel[kernel.shape[0] // 2] > 0).sum() == pytest.approx(2 * radius, abs=2)


@pytest.mark.parametrize(("angle", "bend"), [(0.0, 0.0), (1.0, 0.0), (2.5, 1.2)], ids=["across", "slanting", "bent"])
def test_a_stroke_is_as_long_as_it_claims(angle: float, bend: float) -> None:
    y, x = np.nonzero(stroke(30, angle, bend) > 0.2)
    ends = np.hypot(x[:, None] - x, y[:, None] - y).max()
    assert 30 * (0.9 if bend else 1) - 2 <= ends <= 31


@pytest.mark.parametrize("deviation", amounts.NOISE)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_noise_has_its_stated_strength_after_scaling(deviation: float, scale: float) -> None:
    grey = np.full((600, 600, 3), 128, np.uint8)
    for seed in range(4):
        noisy = add_noise(grey, scale, deviation, np.random.default_rng(seed))
        small = cv2.resize(noisy, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
        assert small[..., 0].std() == pytest.approx(deviation, rel=0.25)


@pytest.mark.parametrize("part", PARTS)
def test_blocks_are_off_by_enough_to_be_seen(part: float, picture: Image) -> None:
    for seed in range(4):
        made = spoiled("blocky", picture, part, seed).astype(float)
        assert np.sqrt(np.mean((made - picture) ** 2)) >= amounts.BLOCKY_ERROR


@pytest.mark.parametrize("part", PARTS)
def test_dark_and_bright_start_at_their_stated_levels(part: float, picture: Image) -> None:
    dark, bright = (spoiled(label, picture, part) for label in ("too_dark", "too_bright"))
    assert np.percentile(brightness(dark), 95) == pytest.approx(amount_at(amounts.DARK, part), abs=5)
    assert np.median(brightness(bright)) >= amounts.BRIGHT[0] - 12  # each colour is cut at 255
    assert np.percentile(brightness(bright), 5) < 235, "something must be left to see"
    assert well_lit(picture) and not well_lit(dark) and not well_lit(bright)


@pytest.mark.parametrize("part", PARTS)
def test_blank_pictures_have_almost_no_contrast(part: float, picture: Image) -> None:
    for seed in range(6):
        made = cv2.GaussianBlur(spoiled("blank", picture, part, seed), (0, 0), 2)
        low, high = np.percentile(brightness(made), [5, 95])
        assert high - low <= amounts.BLANK_CONTRAST + amounts.BLANK_GRADIENT


@pytest.mark.parametrize("label", ["defocus", "motion_blur"])
def test_stronger_blur_removes_more_detail(label: str, picture: Image) -> None:
    edges = [detail(seen(made), 1)[0] for made in (picture, *(spoiled(label, picture, part) for part in (0.0, 1.0)))]
    assert edges[0] > 1.5 * edges[1] > 1.5 * edges[2]


def test_sharp_picture_has_camera_effects_only(picture: Image) -> None:
    for part in PARTS:
        made = spoiled("sharp", picture, part)
        assert detailed(made, SCALE) and well_lit(made)
        assert np.abs(seen(made).astype(float) - seen(picture)).mean() < 5


def test_every_fault_differs_clearly_from_sharp() -> None:
    assert amounts.DEFOCUS[0] / 2 > 2 * amounts.SHARP_BLUR  # a disc's deviation is half its radius
    assert amounts.MOTION[0] / 12**0.5 > 2 * amounts.SHARP_BLUR  # a line's is its length by the root of 12
    assert amounts.NOISE[0] > 2 * amounts.SHARP_NOISE
    assert amounts.BLOCKY_QUALITY[0] < amounts.SHARP_QUALITY[0] / 2
    assert amounts.BLOCKY_QP[0] > amounts.SHARP_QP[1] + 12  # 6 double the error
    assert amounts.DARK[0] < amounts.SHARP_LIGHT / 1.5
    assert amounts.BRIGHT[0] > amounts.SHARP_MEDIAN * 1.2


def test_scenes_stay_well_lit() -> None:
    rng = np.random.default_rng(2)
    scenes = Scenes(TRAINING_PHOTOGRAPHS[:2], 0.5, rng)
    made = [adjust_light(random_part(scenes.next(), 200, 1.0, rng), rng) for _ in range(20)]
    assert sum(well_lit(picture) for picture in made) >= 15
    assert not detailed(cv2.GaussianBlur(made[0], (0, 0), 3), 1.0)
    bars = add_letterbox(made[0], rng)
    assert bars.shape == made[0].shape and bars[0, 0].max() <= 16
    assert not set(TRAINING_PHOTOGRAPHS) & set(HELD_OUT_PHOTOGRAPHS)
