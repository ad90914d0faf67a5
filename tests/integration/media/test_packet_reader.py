"""PacketReader decodes only the frames that it needs, and the right ones."""

import av
import numpy as np
import pytest

from app.media.frames import centre_crop
from app.media.types import Limits
from app.video import decode
from app.video.packet_reader import PacketReader
from app.video.probe import Resources
from tests.support.films import numbered, read_number, write_video
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
COUNT = 100


class Counting(PacketReader):
    """Count decoded frames; with `loses`, drop a wanted frame while others are skipped."""

    decoded = 0
    loses = -1

    def _decode(self, *arguments):
        for frame in super()._decode(*arguments):
            self.decoded += 1
            if not (self._skips and self._frame_number(frame.pts) == self.loses):
                yield frame


WITH_B_FRAMES = {"options": {"x264-params": "bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"}, "gop": 100}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_unreferenced_frames_are_skipped(tmp_path, suffix, threads):
    path = write_video(tmp_path / f"film.{suffix}", map(numbered, range(COUNT)), **WITH_B_FRAMES)
    reader = Counting(
        whole(path),
        "mov" if suffix == "mp4" else "matroska",
        decode.probe(whole(path), LIMITS),
        (160, 120),
        Resources(threads),
    )
    assert [read_number(centre_crop(frame, 120)) for frame in reader.read([50, 60, 70, 80])] == [50, 60, 70, 80]
    assert 20 <= reader.decoded <= 40


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_two_threads_give_the_same_frames(tmp_path, suffix):
    path = write_video(tmp_path / f"film.{suffix}", map(numbered, range(COUNT)), gop=20)
    demuxer = {"mp4": "mov", "mkv": "matroska", "ts": "mpegts", "avi": "avi"}[suffix]
    numbers = [3, 4, 31, 32, 59, 88, COUNT - 1]
    media = decode.probe(whole(path), LIMITS)
    one, two = (
        PacketReader(whole(path), demuxer, media, (160, 120), Resources(threads)).read(numbers) for threads in (1, 2)
    )
    for alone, together in zip(one, two, strict=True):
        assert np.array_equal(alone, together)


class Unseekable:
    """A file that cannot be sought, as FFmpeg reports for a damaged index."""

    def seek(self, *_told, **_also):
        raise av.error.PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_unseekable_file_is_reopened(tmp_path, suffix):
    path = write_video(tmp_path / f"film.{suffix}", map(numbered, range(COUNT)), gop=20)
    media = decode.probe(whole(path), LIMITS)
    reader = PacketReader(whole(path), "mov" if suffix == "mp4" else "matroska", media, (160, 120))
    reader._list_container = Unseekable(), reader._list_container[1]

    def read() -> list[int]:
        return [read_number(centre_crop(frame, 120)) for frame in reader.read([3, 4, 59])]

    assert read() == read() == [3, 4, 59]


def test_missed_wanted_frame_is_read_with_all_frames(tmp_path):
    path = write_video(tmp_path / "film.mp4", map(numbered, range(COUNT)), **WITH_B_FRAMES)
    reader = Counting(whole(path), "mov", decode.probe(whole(path), LIMITS), (160, 120))
    reader.loses = 60
    assert [read_number(centre_crop(frame, 120)) for frame in reader.read([50, 60, 70])] == [50, 60, 70]
    assert reader.decoded > 60, "not all frames up to the last one"
