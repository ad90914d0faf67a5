"""Which lane an upload goes to."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.admission.pricing import LONG_BYTES, LONG_FRAMES, lane_after, lane_before
from app.admission.queue import Lane
from app.media.types import Media, Source

JPEG, MP4, TEXT = b"\xff\xd8\xff" + bytes(100), b"\0\0\0\x18ftypisom" + bytes(100), b"hello, this is a text"


@pytest.mark.parametrize(
    ("head", "length", "lane"),
    [
        (JPEG, 1000, Lane.PICTURE),
        (JPEG, 2 * LONG_BYTES, Lane.PICTURE),
        (MP4, 1000, Lane.SHORT),
        (MP4, 2 * LONG_BYTES, Lane.LONG),
        (TEXT, 1000, Lane.SHORT),
    ],
)
def test_before_it_was_probed(tmp_path: Path, head: bytes, length: int, lane: Lane) -> None:
    (tmp_path / "file").write_bytes(head)
    assert lane_before(Source(str(tmp_path / "file"), 0, length)) is lane


def video(width: int = 640, height: int = 360, frames: int | None = 90) -> Media:
    return Media("video", "mp4", "h264", width, height, 0, 3.0, 30.0, frames)


@pytest.mark.parametrize(
    ("media", "clips", "lane"),
    [
        (video(), 8, Lane.SHORT),
        (video(frames=LONG_FRAMES + 1), 1, Lane.LONG),
        (video(1280, 720), 8, Lane.SHORT),
        (video(3840, 2160), 1, Lane.LONG),
        (replace(video(frames=None), duration_s=2 * 3600.0), 1, Lane.LONG),
        (video(frames=None), 1, Lane.SHORT),
        (Media("image", "jpeg", "mjpeg", 6000, 6000, 0, None, None, 1), 1, Lane.PICTURE),
    ],
)
def test_when_it_was_probed(media: Media, clips: int, lane: Lane) -> None:
    assert lane_after(media, clips, Lane.SHORT) is lane


def test_a_large_file_stays_long() -> None:
    assert lane_after(video(), 1, Lane.LONG) is Lane.LONG
