"""Reduced files look like the file: size, scaling and colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from app.media.geometry import Crop
from clipstack_client.reduction.prepare import probe
from tests.integration.client.reduced import decode, grainy, model, reduce_file
from tests.support.coded import COLOURS, Coding, quarters, write_coded
from tests.support.films import corners, write_video
from tests.support.odd_films import interlaced, with_clean_aperture, with_pixel_crop


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return tmp_path / "small.bin"


LOOKS = {
    "mirrored": {"mirrored": True},
    "mirrored and turned": {"mirrored": True, "rotation": 90},
    "upside down": {"rotation": 180, "mirrored": True},
    "anamorphic": {"aspect": Fraction(64, 45)},
    "anamorphic, turned": {"aspect": Fraction(2), "rotation": 270},
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("reduction", ["frames", "shrink"])
@pytest.mark.parametrize("look", LOOKS)
def test_reduced_file_looks_like_the_original(
    tmp_path: Path, small: Path, look: str, reduction: str, suffix: str
) -> None:
    frames = [np.where(corners(320, 240) > 128, frame, frame // 4) for frame in grainy(40)]
    path = write_video(tmp_path / f"film.{suffix}", frames, options={"preset": "ultrafast"}, **LOOKS[look])
    media, _, pixels = decode(path, model(), 1)
    reduced = reduce_file(path, reduction, model())
    assert reduced is not None
    with reduced.file:
        small.write_bytes(reduced.file.read())
    facts = reduced.facts
    assert (facts.width, facts.height, facts.rotation, facts.mirrored) == (
        media.width,
        media.height,
        media.rotation,
        media.mirrored,
    )
    assert np.abs(pixels - decode(small, model(), 1)[2]).mean() < 6


LARGE = {"crf": "1", "preset": "ultrafast", "g": "1"}
COLOURED = {
    "untagged": ((320, 240), Coding("libx264", "yuv420p", matrix=5, options=LARGE)),
    "untagged hd": ((1280, 720), Coding("libx264", "yuv420p", matrix=1, options=LARGE)),
    "bt709": ((320, 240), Coding("libx264", "yuv420p", 1, 1, options=LARGE)),
    "full": ((320, 240), Coding("libx264", "yuvj420p", 1, 2, options=LARGE)),
    "bt2020 matrix": ((320, 240), Coding("libx264", "yuv420p10le", 9, 1, options=LARGE)),
    "rgb": ((320, 240), Coding("ffv1", "bgr0")),
}


@pytest.mark.parametrize("reduction", ["frames", "shrink"])
@pytest.mark.parametrize("name", COLOURED)
def test_reduced_file_keeps_the_colours(tmp_path: Path, small: Path, name: str, reduction: str) -> None:
    size, coding = COLOURED[name]
    noise = np.random.default_rng(0).integers(0, 40, (size[1], size[0], 1)) / 255 - 20 / 255
    path = write_coded(tmp_path / "film.mkv", coding, (quarters(*size) + noise).clip(0, 1), count=40)
    reduced = reduce_file(path, reduction, model(resize=120, crop=120))
    assert reduced is not None
    with reduced.file:
        small.write_bytes(reduced.file.read())
    frames = decode(small, model(resize=120, crop=120), 1)[2][0]
    for y, x, colour in zip((30, 30, 90, 90), (30, 90, 30, 90), COLOURS, strict=True):
        assert np.abs(frames[3, y - 9 : y + 9, x - 9 : x + 9].mean(axis=(0, 1)) - colour).max() < 8


def odd_film(folder: Path, name: str) -> Path:
    if name == "interlaced":
        return interlaced(folder, "h264 mov")[0]
    if name == "pixel crop":
        path = write_video(folder / "whole.mkv", grainy(20), container={"live": "1"})
        return with_pixel_crop(path, folder / "film.mkv", Crop(16, 0, 0, 0))
    if name == "clean aperture":
        return with_clean_aperture(
            write_video(folder / "whole.mp4", grainy(20)), folder / "film.mp4", Crop(16, 0, 0, 0)
        )
    tags = {"hdr": {"transfer": 16, "gamut": 9}, "wide": {"transfer": 1, "gamut": 12}}[name]
    coding = Coding("libx264", "yuv420p10le", 9, 1, **tags)
    return write_coded(folder / "film.mkv", coding, quarters(320, 240), count=20)


@pytest.mark.parametrize("name", ["interlaced", "pixel crop", "clean aperture", "hdr", "wide"])
def test_file_only_the_service_converts_is_sent_unchanged(tmp_path: Path, name: str) -> None:
    path = odd_film(tmp_path, name)
    with path.open("rb") as file:
        assert probe(file, path.stat().st_size) is None
