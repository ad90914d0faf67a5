"""Scores of frames that were scaled on a device equal those of the CPU's readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import Reader, centre_crop, scaled_size
from app.media.sampling import EvenClips, frames_at, place_clips
from app.media.types import Limits
from app.settings import CHECKOUT
from app.video.gpu_frames import DeviceReader
from app.video.probe import probe
from app.video.readers import open_reader
from tests.support.regions import whole
from triton_repo.backends.clip.clip_engines.openvino_engine import OpenVinoEngine

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
MODEL = CHECKOUT / "triton_repo" / "models" / "camera_motion" / "1"
FRAMES, STRIDE, FPS, SIZE = 8, 4, 30.0, 56
CLIPS = 4  # of each film
WAVERS = 0.1  # a lead of the best label below this is a tie


@pytest.fixture(scope="module")
def engine() -> OpenVinoEngine:
    return OpenVinoEngine(MODEL, {"precision": "f32"}, 1)


def clips(reader: Reader, rows: list[list[int]]) -> NDArray[np.uint8]:
    """uint8 (clips, T, SIZE, SIZE, 3)."""
    numbers = sorted({number for row in rows for number in row})
    frames = dict(zip(numbers, (np.asarray(centre_crop(frame, SIZE)) for frame in reader.read(numbers)), strict=True))
    return np.stack([[frames[number] for number in row] for row in rows])


@pytest.mark.parametrize(
    "name", ["arm_wrestling.mp4", "flipping_a_pancake.mkv", "sintel.mp4", "av1.mkv", "h264_10bit.mp4", "video_270.mov"]
)
def test_real_clips_have_the_same_best_label(real_videos: Path, engine: OpenVinoEngine, name: str) -> None:
    source = whole(real_videos / name)
    media, demuxer = probe(source, LIMITS), recognise(source.read(HEAD_BYTES)).name
    size = scaled_size(media.width, media.height, SIZE)
    there = DeviceReader(source, demuxer, media, size, torch.device("cpu"))
    placed = place_clips(there.timing, EvenClips(FRAMES, STRIDE / FPS, CLIPS))
    rows = [frames_at(there.timing, times_s) for times_s in placed]
    right = engine.infer(clips(open_reader(source, media, demuxer, size), rows))
    ours = engine.infer(clips(there, rows))
    best, second = np.sort(right, axis=1)[:, ::-1][:, :2].T
    sure = best - second > WAVERS
    assert sure.any()
    np.testing.assert_array_equal(ours.argmax(axis=1)[sure], right.argmax(axis=1)[sure])
    assert np.abs(ours - right).max() < WAVERS
