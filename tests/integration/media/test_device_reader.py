"""DeviceReader gives the frames of the other readers: upright, with colours as close as its filter allows.

Its device is the CPU here. A GPU adds NVDEC in place of FFmpeg's software decoder, and torch's kernels
(test_gpu_decoding.py, on a machine that has one).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import Reader, centre_crop, scaled_size
from app.media.geometry import Crop
from app.media.types import Limits
from app.video.gpu_frames import DeviceReader, NotOnDevice, to_rgb
from app.video.probe import probe
from app.video.readers import open_reader
from tests.support.coded import (
    BT601,
    BT709,
    BT2020,
    COLOURS,
    FULL,
    LIMITED,
    Coding,
    centres,
    quarters,
    write_coded,
)
from tests.support.films import corners, numbered, read_corners, read_number, texture, write_video
from tests.support.odd_films import interlaced, with_clean_aperture
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
CPU = torch.device("cpu")
COUNT = 40
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3"}
FILMS: dict[str, dict[str, Any]] = {
    "mp4": {},
    "mp4 open gop": {"options": OPEN_GOP},
    "mp4 hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=1"}},
    "mp4 deep": {"codec": "libx265", "pixels": "yuv420p10le", "options": {"x265-params": "log-level=none:pools=1"}},
    "mp4 full": {"pixels": "yuvj420p"},
    "mkv": {},
    "webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "ts": {},
    "mpg": {"codec": "mpeg1video", "options": {"bf": "2"}},
}
# Mean difference in grey levels of 255 to the reader of the CPU. Both scale in YUV by a bicubic filter, FFmpeg's with
# other weights: 0.1 to 3.0 on real footage, 6 on generated patterns as fine as the pixels that are left of them.
TOLERANCE = 3.5


def both(path: Path, resize: int) -> tuple[Reader, DeviceReader]:
    source = whole(path)
    media, demuxer = probe(source, LIMITS), recognise(source.read(HEAD_BYTES)).name
    size = scaled_size(media.width, media.height, resize)
    return open_reader(source, media, demuxer, size), DeviceReader(source, demuxer, media, size, CPU)


def seen(reader: Reader, numbers: Sequence[int], crop: int) -> NDArray[np.float64]:
    """float64 (T, crop, crop, 3)."""
    return np.stack([np.asarray(centre_crop(frame, crop), np.float64) for frame in reader.read(numbers)])


@pytest.mark.parametrize("name", FILMS)
def test_same_frames_at_same_times_in_same_colours(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"film.{name.split()[0]}"
    write_video(path, map(numbered, range(COUNT)), **FILMS[name])
    ours, there = both(path, 64)
    np.testing.assert_allclose(there.timing.times_s, ours.timing.times_s, atol=1e-4)
    assert there.timing.end_s == pytest.approx(ours.timing.end_s, abs=1e-3)
    wanted = [0, 1, 11, 12, 30, COUNT - 1]
    left, right = seen(ours, wanted, 64), seen(there, wanted, 64)
    assert [read_number(frame) for frame in right] == wanted
    assert np.abs(left - right).mean() < TOLERANCE


def test_frames_are_tensors_on_the_device(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", map(numbered, range(3)))
    (frame,) = both(path, 48)[1].read([1])
    assert isinstance(frame, torch.Tensor)
    assert (frame.shape, frame.dtype, frame.device) == ((48, 64, 3), torch.uint8, CPU)


@pytest.mark.parametrize("size", [(640, 360), (340, 256), (360, 640), (122, 100)], ids=str)
def test_textures_agree(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "film.mp4", [texture(*size, seed=1)] * 3, options={"crf": "12"})
    ours, there = both(path, 96)
    assert np.abs(seen(ours, [1], 80) - seen(there, [1], 80)).mean() < TOLERANCE


@pytest.mark.parametrize("space", [1, 2, 5, 9], ids=["BT.709", "untold", "BT.601", "BT.2020"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_colours_are_converted_as_swscale_does_it(space: int, full: bool) -> None:
    rng = np.random.default_rng(0)
    light = np.kron(rng.integers(40, 220, (8, 8), np.uint8), np.ones((16, 16), np.uint8))
    colour = np.kron(rng.integers(90, 170, (8, 8, 2), np.uint8), np.ones((8, 8, 1), np.uint8))
    frame = av.VideoFrame(128, 128, "nv12")
    for plane, data in zip(frame.planes, (light, colour.reshape(64, 128)), strict=True):
        plane.update(np.pad(data, ((0, 0), (0, plane.line_size - 128))).tobytes())
    frame.colorspace, frame.color_range = space, 2 if full else 1
    right = frame.reformat(format="rgb24").to_ndarray()[8::16, 8::16].astype(float)
    ours = to_rgb(torch.from_numpy(light), torch.from_numpy(colour), (128, 128), space, full)
    assert np.abs(ours[8::16, 8::16].numpy() - right).max() <= 3


def test_black_and_white_are_unchanged() -> None:
    grey = torch.full((16, 16, 2), 128, dtype=torch.uint8)
    for value, shown in ((16, 0), (235, 255)):
        light = torch.full((32, 32), value, dtype=torch.uint8)
        assert to_rgb(light, grey, (8, 8), 1, full_range=False).unique().tolist() == [shown]
        deep = to_rgb(
            light.to(torch.int32).mul(256).to(torch.uint16), grey.int().mul(256).to(torch.uint16), (8, 8), 1, False
        )
        assert deep.unique().tolist() == [shown]


@pytest.mark.parametrize("resize", [80, 182, 256])
@pytest.mark.parametrize("name", ["arm_wrestling.mp4", "flipping_a_pancake.mkv", "sintel.mp4", "video_90.mov"])
def test_real_clips_agree(real_videos: Path, name: str, resize: int) -> None:
    ours, there = both(real_videos / name, resize)
    count = len(ours.timing.times_s)
    assert count == len(there.timing.times_s)
    numbers = sorted({0, count // 2, count - 1})
    assert np.abs(seen(ours, numbers, 80) - seen(there, numbers, 80)).mean() < TOLERANCE


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_every_orientation_becomes_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    shown = corners(120, 160) if rotation % 180 else corners(160, 120)
    stored = np.ascontiguousarray(np.rot90(shown[:, ::-1] if mirrored else shown, rotation // 90))
    path = write_video(tmp_path / "film.mov", [stored] * 3, rotation=rotation, mirrored=mirrored, aspect=Fraction(2))
    ours, there = (next(iter(reader.read([1]))) for reader in both(path, 64))
    assert np.asarray(there).shape == ours.shape
    assert read_corners(np.asarray(there)) == "rgbw"


CODINGS = {
    "untagged": ((320, 240), Coding("libx264", "yuv420p", matrix=5)),
    "untagged hd": ((1280, 720), Coding("libx264", "yuv420p", matrix=1)),
    "bt709": ((320, 240), Coding("libx264", "yuv420p", BT709, LIMITED)),
    "bt601 hd": ((1280, 720), Coding("libx264", "yuv420p", BT601, LIMITED)),
    "full": ((320, 240), Coding("libx264", "yuvj420p", BT709, FULL)),
    "smpte 240m": ((320, 240), Coding("libx264", "yuv420p", 7, LIMITED)),
    "bt2020 matrix": ((320, 240), Coding("libx264", "yuv420p10le", BT2020, LIMITED)),
}


@pytest.mark.parametrize("name", CODINGS)
def test_colours_are_those_of_the_cpu(tmp_path: Path, name: str) -> None:
    size, coding = CODINGS[name]
    path = write_coded(tmp_path / "film.mkv", coding, quarters(*size))
    ours, there = (np.asarray(next(iter(reader.read([1])))) for reader in both(path, 120))
    assert np.abs(centres(there) - COLOURS).max() <= 4
    assert np.abs(centres(there) - centres(ours)).max() <= 4


def test_complex_conversions_use_the_cpu_reader(tmp_path: Path) -> None:
    pq = Coding("libx264", "yuv420p10le", BT2020, LIMITED, transfer=16, gamut=BT2020)
    film = write_video(tmp_path / "whole.mp4", [texture(320, 240)] * 3)
    for path in (
        write_coded(tmp_path / "pq.mkv", pq, quarters(320, 240)),
        interlaced(tmp_path, "h264 mov")[0],
        with_clean_aperture(film, tmp_path / "cropped.mp4", Crop(16, 0, 0, 0)),
    ):
        with pytest.raises(NotOnDevice):
            both(path, 96)


def test_late_interlaced_frames_use_the_cpu_reader(tmp_path: Path) -> None:
    path, _ = interlaced(tmp_path, "ffv1 mkv", progressive=6)
    there = both(path, 96)[1]
    with pytest.raises(NotOnDevice):
        list(there.read([1, 9]))
