"""The lane of an upload."""

from dataclasses import replace

import pytest

from app.admission.queue import LONG_BYTES, LONG_FRAMES, Lane, is_long, lane_of
from app.media.formats import Kind
from app.media.types import Media


@pytest.mark.parametrize(
    ("kind", "length", "lane"),
    [
        ("image", 1000, Lane.PICTURE),
        ("image", 2 * LONG_BYTES, Lane.PICTURE),
        ("video", 1000, Lane.SHORT),
        ("video", 2 * LONG_BYTES, Lane.LONG),
    ],
)
def test_kind_and_length_choose_the_lane(kind: Kind, length: int, lane: Lane) -> None:
    assert lane_of(kind, length) is lane


def video(width: int = 640, height: int = 360, frames: int | None = 90) -> Media:
    return Media("video", "mp4", "h264", width, height, 0, 3.0, 30.0, frames)


@pytest.mark.parametrize(
    ("media", "clips", "expected"),
    [
        (video(), 8, False),
        (video(frames=LONG_FRAMES + 1), 1, True),
        (video(1280, 720), 8, False),
        (video(3840, 2160), 1, True),
        (replace(video(frames=None), duration_s=2 * 3600.0), 1, True),
        (video(frames=None), 1, False),
        (Media("image", "jpeg", "mjpeg", 6000, 6000, 0, None, None, 1), 1, False),
    ],
)
def test_frames_and_pixels_make_a_video_long(media: Media, clips: int, expected: bool) -> None:
    assert is_long(media, clips) is expected
