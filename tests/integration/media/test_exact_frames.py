"""Every clip and window holds exactly the frames that the answer names, in all containers and codecs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.decoding.worker import DecodeTask, decode_file
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import centre_crop
from app.media.sampling import EvenClips, frames_at, place_clips
from app.media.types import Limits, Media, Source
from app.timeline.scan import ScanSpec, ScanStarted, Window, scan
from app.timeline.windows import grid
from app.video import decode
from app.video.decord_reader import DecordReader
from app.video.packet_reader import PacketReader
from app.video.probe import Resources
from app.video.readers import Reader, open_reader
from tests.support.avi import mpeg4_chunks, packed, write_avi
from tests.support.films import numbered, read_number, write_video
from tests.support.regions import Region, whole
from tests.support.timings import regular

COUNT, FPS = 90, 30
LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
CLIP_FRAMES, STEP_S, SIDE = 5, 6 / 30, 60
SIZE = (80, 60)  # a size at which decord is used

Made = dict[str, Any]
H264: Made = {"options": {"preset": "ultrafast", "x264-params": "bframes=3:b-adapt=0:b-pyramid=normal"}, "gop": 30}
OPEN: Made = {"options": {"preset": "ultrafast", "x264-params": "bframes=3:b-adapt=0:open-gop=1"}, "gop": 20}
HEVC: Made = {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:keyint=30"}}
MPEG4: Made = {"codec": "mpeg4", "options": {"bf": "2"}, "gop": 20}
MPEG2: Made = {"codec": "mpeg2video", "options": {"bf": "2"}, "gop": 15}
VP8: Made = {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}, "gop": 20}
VP9: Made = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}, "gop": 20}
MJPEG: Made = {"codec": "mjpeg", "pixels": "yuvj420p"}
FILMS: dict[str, Made] = {
    **{f"{suffix} h264": H264 for suffix in ("mp4", "mov", "mkv", "flv", "avi", "ts", "m2ts", "3gp", "asf", "mpg")},
    **{f"{suffix} h264 open": OPEN for suffix in ("mp4", "mkv", "ts", "avi")},
    **{f"{suffix} hevc": HEVC for suffix in ("mp4", "mkv", "ts")},
    **{f"{suffix} mpeg4": MPEG4 for suffix in ("mp4", "mkv", "avi", "ts", "asf")},
    **{f"{suffix} mpeg2": MPEG2 for suffix in ("ts", "mpg", "mkv", "mp4", "avi")},
    **{f"{suffix} vp8": VP8 for suffix in ("webm", "mkv")},
    **{f"{suffix} vp9": VP9 for suffix in ("webm", "mp4")},
    **{f"{suffix} mjpeg": MJPEG for suffix in ("mov", "avi", "mkv")},
    "mkv live": {**H264, "container": {"live": "1"}},
    "mp4 fragmented": {**H264, "container": {"movflags": "frag_keyframe+empty_moov"}},
    "mov prores": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "mov png": {"codec": "png", "pixels": "rgb24"},
    "mkv ffv1": {"codec": "ffv1"},
    "mpg mpeg1": {"codec": "mpeg1video", "options": {"bf": "2"}, "gop": 15},
    "wmv wmv2": {"codec": "wmv2", "gop": 20},
    "flv flv1": {"codec": "flv", "gop": 20},
    "gif": {"codec": "gif", "pixels": "rgb8"},
}


def xvid(path: Path) -> None:
    path.write_bytes(write_avi(packed(mpeg4_chunks(map(numbered, range(COUNT)), gop=20, b_frames=1)), 160, 120, FPS))


def joined(**made: Any) -> Callable[[Path], None]:
    """Write a film in two halves, each with its own timestamps."""

    def make(path: Path) -> None:
        halves = [
            write_video(path.with_name(f"{half.start}.{path.suffix[1:]}"), map(numbered, half), FPS, **made)
            for half in (range(50), range(50, COUNT))
        ]
        path.write_bytes(b"".join(half.read_bytes() for half in halves))

    return make


def restarted(path: Path) -> None:
    """Write an FLV of a restarted sender: timestamps start again at 0, without a second header."""
    first, second = (
        write_video(path.with_name(f"{half.start}.flv"), map(numbered, half), FPS, **H264)
        for half in (range(50), range(50, COUNT))
    )
    path.write_bytes(first.read_bytes() + second.read_bytes()[13:])


def odd_ends(path: Path) -> None:
    """Write a broadcast that starts inside a packet, with other bytes after its end."""
    write_video(path, map(numbered, range(COUNT)), FPS, **H264)
    path.write_bytes(b"\x01" * 100 + path.read_bytes() + b"\x01" * 5000)


def leaping(path: Path) -> None:
    """Write a film whose second half is an hour later."""
    pts = [1000 * number // FPS + 3_600_000 * (number >= 45) for number in range(COUNT)]
    write_video(path, map(numbered, range(COUNT)), FPS, pts=pts, **H264)


def wrapping(path: Path) -> None:
    """Write a film whose timestamps of 33 bits wrap around after a second and a half."""
    first = 1000 * (1 << 33) // 90_000 - 1500 - 1400  # the muxer adds 1.4 s
    pts = [first + 1000 * number // FPS for number in range(COUNT)]
    write_video(path, map(numbered, range(COUNT)), FPS, pts=pts, **H264)


MADE: dict[str, Callable[[Path], object]] = {
    "avi xvid packed": xvid,
    "ts joined": joined(**H264),
    "ts joined open": joined(**OPEN),
    "ts joined mpeg2": joined(**MPEG2),
    "mpg joined": joined(**MPEG2),
    "mkv joined": joined(**H264),
    "mkv joined mpeg4": joined(**MPEG4),
    "webm joined": joined(**VP8),
    "ts leaping": leaping,
    "flv restarted": restarted,
    "ts odd ends": odd_ends,
    "ts wrapping": wrapping,
}


def _written(name: str, made: Made) -> Callable[[Path], object]:
    return lambda path: write_video(path, map(numbered, range(COUNT)), FPS, **made)


MADE |= {name: _written(name, made) for name, made in FILMS.items()}


@pytest.fixture(scope="module", params=MADE)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Media]:
    path = tmp_path_factory.mktemp("films") / f"film.{request.param.split()[0]}"
    MADE[request.param](path)
    return whole(path), decode.probe(whole(path), LIMITS)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_clips_show_the_frames_they_name(film: tuple[Source, Media], tmp_path: Path, count: int) -> None:
    source, media = film
    region = Region(tmp_path / "region")
    clips = EvenClips(CLIP_FRAMES, STEP_S, count)
    request = region.request(*[[0.0] * CLIP_FRAMES] * count, resize=SIDE, crop=SIDE)
    request = type(request)(clips, SIDE, SIDE, request.offsets, request.region)
    opened_twice = decode.decode(source, media, request, LIMITS)
    file = decode_file(DecodeTask(source, request), LIMITS)
    assert (file.media, file.clips) == (media, opened_twice)
    decoded = opened_twice
    shown = [[read_number(frame) for frame in clip] for clip in region.clips(request)]
    assert shown == [list(row) for row in decoded.frames]
    assert (decoded.total, decoded.truncated, any(decoded.padded)) == (COUNT, False, False)
    assert (decoded.duration_s, decoded.fps) == (pytest.approx(3.0, abs=0.04), pytest.approx(30, abs=0.4))
    wanted = [frames_at(regular(COUNT, FPS), row) for row in place_clips(regular(COUNT, FPS), clips)]
    assert np.abs(np.array(shown) - wanted).max() <= 1  # a container that counts milliseconds may round


def test_windows_show_the_frames_they_name(film: tuple[Source, Media]) -> None:
    source, media = film
    look = ScanSpec(grid(CLIP_FRAMES, 6, 30.0, None, 0.3), 0, SIDE, SIDE, 100, LIMITS)
    windows: list[np.ndarray[Any, np.dtype[np.uint8]]] = []

    def place() -> np.ndarray[Any, np.dtype[np.uint8]]:
        windows.append(np.zeros((CLIP_FRAMES, SIDE, SIDE, 3), np.uint8))
        return windows[-1]

    events = list(scan(source, media, look, place))
    named = [event.frames for event in events if isinstance(event, Window)]
    assert isinstance(events[0], ScanStarted)
    assert (events[0].total, len(named)) == (COUNT, 8)
    assert [tuple(read_number(frame) for frame in window) for window in windows] == named


@pytest.mark.parametrize("threads", [1, 2])
def test_single_frames_are_found(film: tuple[Source, Media], threads: int) -> None:
    source, media = film
    demuxer = recognise(source.read(HEAD_BYTES)).name
    readers: list[Reader] = [PacketReader(source, demuxer, media, SIZE, Resources(threads))]
    chosen = open_reader(source, media, demuxer, SIZE)
    readers += [chosen] * isinstance(chosen, DecordReader)
    for reader in readers:
        for wanted in ([COUNT - 1], [47, 48, 49, 50, 51, 52], [0, 19, 20, 60, 61, COUNT - 2]):
            assert [read_number(centre_crop(frame, SIDE)) for frame in reader.read(wanted)] == wanted


@pytest.mark.parametrize("name", ["webm vp8", "mp4 vp9", "mov mjpeg", "mkv ffv1", "flv flv1"])
def test_decord_is_one_of_the_readers(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"film.{name.split()[0]}"
    MADE[name](path)
    demuxer = recognise(path.read_bytes()[:HEAD_BYTES]).name
    assert isinstance(open_reader(whole(path), decode.probe(whole(path), LIMITS), demuxer, SIZE), DecordReader)
