"""Videos of every container: their properties, and the frames at the requested times."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from app.media.sampling import EvenClips
from app.media.types import Limits, Source
from app.video import decode
from tests.support.films import corners, numbered, read_corners, read_number, write_video
from tests.support.regions import UNTOUCHED, Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
COUNT = 100
SECONDS = COUNT / 30
NO_CUTS = {"x264-params": "scenecut=0"}
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3"}


# Suffix and options of write_video; each of them once gave wrong frames with one of the libraries
FILMS = {
    "mp4": {},
    "mp4 open gop": {"options": OPEN_GOP},
    "mp4 long gop": {"gop": 250},
    "mp4 fragmented": {"container": {"movflags": "frag_keyframe+empty_moov"}},
    "mp4 hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=1"}},
    "mp4 mpeg4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mp4 b-frames": {"options": {"x264-params": "bframes=8:b-adapt=0:b-pyramid=normal"}, "gop": 50},
    "mp4 b-frames, none kept": {"options": {"x264-params": "bframes=3:b-adapt=0:b-pyramid=none"}, "gop": 50},
    "mp4 hevc b-frames": {
        "codec": "libx265",
        "options": {"x265-params": "bframes=4:b-adapt=0:log-level=none"},
        "gop": 50,
    },
    "mkv b-frames": {"options": {"x264-params": "bframes=8:b-adapt=0:b-pyramid=strict"}, "gop": 50},
    "mkv open gop": {"options": OPEN_GOP},
    "mov": {},
    "mov mjpeg": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "mkv": {},
    "mkv late": {"pts": [5000 + 1000 * i // 30 for i in range(COUNT)]},
    "webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "flv": {},
    "gif": {"codec": "gif", "pixels": "rgb8"},
    "avi": {"codec": "mpeg4"},
    "avi b-frames": {"codec": "mpeg4", "options": {"bf": "2"}},
    "avi h264": {},
    "ts": {},
    "ts open gop": {"options": OPEN_GOP},
    "ts mpeg2": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "m2ts": {},
    "mpg": {"codec": "mpeg1video", "options": {"bf": "2"}},
    "wmv": {"codec": "wmv2"},
}


@pytest.fixture
def region(tmp_path) -> Region:
    return Region(tmp_path / "region")


def decoded_numbers(path: Path, region: Region, *rows):
    request = region.request(*rows)
    source = whole(path)
    decoded = decode.decode(source, decode.probe(source, LIMITS), request)
    return decoded, [[read_number(frame) for frame in clip] for clip in region.clips(request)]


CALLED = {"mkv": "matroska", "ts": "mpegts", "m2ts": "mpegts", "mpg": "mpeg", "wmv": "asf"}
CODECS = {"libx264": "h264", "libx265": "hevc", "libvpx-vp9": "vp9"}


@pytest.mark.parametrize("name", FILMS)
def test_every_container_gives_facts_and_wanted_frames(tmp_path, region, name):
    suffix, codec = name.split()[0], FILMS[name].get("codec", "libx264")
    path = write_video(tmp_path / f"film.{suffix}", map(numbered, range(COUNT)), **FILMS[name])

    media = decode.probe(whole(path), LIMITS)
    assert (media.kind, media.width, media.height, media.rotation) == ("video", 160, 120, 0)
    assert (media.container, media.codec) == (CALLED.get(suffix, suffix), CODECS.get(codec, codec))
    # An MPEG programme stream has no duration: FFmpeg estimates it. GIF counts in hundredths of a second.
    assert media.duration_s == pytest.approx(SECONDS, abs=0.3 if suffix == "mpg" else 0.04)
    assert media.fps == pytest.approx(30, rel=0.12)
    assert media.frames in (COUNT, None)

    wanted = [[0, 1, 2, 3], [11, 13, 50, 98], [12, 40, 41, 99], [70, 60, 70, 5]]
    request = region.request(*([n / 30 for n in row] for row in wanted))
    decoded = decode.decode(whole(path), media, request)
    assert [[read_number(frame) for frame in clip] for clip in region.clips(request)] == wanted
    assert [list(row) for row in decoded.frames] == wanted
    assert decoded.times_s[1] == pytest.approx(request.clips[1], abs=0.02)
    assert (decoded.padded, decoded.truncated, decoded.total) == ((False,) * 4, False, COUNT)


@pytest.mark.parametrize("fps", [24, 25, 30, 60])
def test_time_is_same_moment_at_every_frame_rate(tmp_path, region, fps):
    path = write_video(tmp_path / "film.mp4", (numbered(i) for i in range(2 * fps)), fps)
    decoded, numbers = decoded_numbers(path, region, [0.5 + 4 * i / 30 for i in range(8)])
    for i, (number, time_s) in enumerate(zip(numbers[0], decoded.times_s[0], strict=True)):
        assert number == pytest.approx((0.5 + 4 * i / 30) * fps, abs=0.51)
        assert time_s == pytest.approx(number / fps, abs=1e-4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_variable_frame_rate_uses_timestamps(tmp_path, region, suffix):
    steps = np.random.default_rng(3).integers(10, 90, COUNT - 1)
    pts = [0, *np.cumsum(steps).tolist()]
    path = write_video(tmp_path / f"film.{suffix}", map(numbered, range(COUNT)), pts=pts)
    wanted = [7, 8, 30, 31, 32, 77]
    _, numbers = decoded_numbers(path, region, [pts[n] / 1000 for n in wanted])
    assert numbers == [wanted]


def test_edit_list_inside_a_gop_is_obeyed(tmp_path, region):
    pts = [33 * (i - 20) for i in range(COUNT)]
    muxer = {"avoid_negative_ts": "disabled"}
    path = write_video(tmp_path / "film.mp4", map(numbered, range(COUNT)), pts=pts, container=muxer)
    decoded, numbers = decoded_numbers(path, region, [0.033 * i for i in (0, 7, 30, 79)])
    assert numbers == [[20, 27, 50, 99]]
    assert decoded.total == 80


def test_equal_timestamps_are_decoded(tmp_path, region):
    pts = [33 * (i // 2) for i in range(20)]
    path = write_video(tmp_path / "film.mkv", map(numbered, range(20)), pts=pts, options={"bf": "0"})
    _, numbers = decoded_numbers(path, region, [0.0, 0.033, 0.3])
    assert [n // 2 for n in numbers[0]] == [0, 1, 9]


def test_short_video_is_padded_with_its_last_frame(tmp_path, region):
    path = write_video(tmp_path / "film.mp4", map(numbered, range(10)))
    decoded, numbers = decoded_numbers(path, region, [0.0, 0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4])
    assert numbers == [[0, 3, 6, 9], [3, 6, 9, 9]]
    assert decoded.padded == (False, True)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_a_video_of_one_frame(tmp_path, region, suffix):
    path = write_video(tmp_path / f"film.{suffix}", [numbered(5)])
    decoded, numbers = decoded_numbers(path, region, [0.0, 0.2, 0.4])
    assert numbers == [[5, 5, 5]]
    assert decoded.padded == (True,)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("edited", [False, True], ids=["by decord", "by PyAV"])
def test_rotated_video_becomes_upright(tmp_path, region, rotation, edited):
    lying = np.ascontiguousarray(np.rot90(corners(120, 160) if rotation % 180 else corners(160, 120), rotation // 90))
    pts = [33 * (i - 8) for i in range(20)] if edited else None
    muxer = {"avoid_negative_ts": "disabled"} if edited else None
    codec = {} if edited else {"codec": "mjpeg", "pixels": "yuvj420p"}
    path = write_video(tmp_path / "film.mov", [lying] * 20, rotation=rotation, pts=pts, container=muxer, **codec)
    media = decode.probe(whole(path), LIMITS)
    assert (media.width, media.height) == ((120, 160) if rotation % 180 else (160, 120))
    assert media.rotation == rotation
    request = region.request([0.0, 0.2])
    decode.decode(whole(path), media, request)
    assert [read_corners(frame) for frame in region.clips(request)[0]] == ["rgbw", "rgbw"]


def test_part_of_a_multipart_body_is_decoded_in_place(tmp_path, region):
    film = write_video(tmp_path / "film.mp4", map(numbered, range(30))).read_bytes()
    body = tmp_path / "a body, with: odd name"
    body.write_bytes(b"#EXTM3U\n" * 99 + film + b"--boundary--\r\n")
    source = Source(str(body), 8 * 99, len(film))
    request = region.request([0.0, 0.5])
    decode.decode(source, decode.probe(source, LIMITS), request)
    assert [read_number(frame) for frame in region.clips(request)[0]] == [0, 15]


def test_only_the_clips_are_written(tmp_path, region):
    path = write_video(tmp_path / "film.mp4", map(numbered, range(30)))
    request = region.request([0.0, 0.1], [0.2, 0.3])
    decode.decode(whole(path), decode.probe(whole(path), LIMITS), request)
    data = np.frombuffer(region.path.read_bytes(), np.uint8).copy()
    for offset in request.offsets:
        data[offset : offset + 2 * 64 * 64 * 3] = UNTOUCHED
    assert (data == UNTOUCHED).all()


@pytest.mark.parametrize("where", ["before", "after"])
def test_clip_outside_the_region_is_a_value_error(tmp_path, region, where):
    path = write_video(tmp_path / "film.mp4", map(numbered, range(30)))
    size = region.path.stat().st_size
    request = region.request([0.0])
    request = type(request)(request.clips, 64, 64, (-1 if where == "before" else size - 10,), request.region)
    with pytest.raises(ValueError, match="outside the region"):
        decode.decode(whole(path), decode.probe(whole(path), LIMITS), request)
    assert region.path.stat().st_size == size


@pytest.mark.parametrize("size", [(96, 96), (144, 80), (115, 96), (97, 80), (192, 108)], ids=str)
def test_padded_rows_keep_three_channels(tmp_path, region, size):
    path = write_video(tmp_path / "film.mp4", [corners(size[0] // 2 * 2, size[1])] * 3)
    request = region.request([0.0], resize=size[1], crop=80)
    decode.decode(whole(path), decode.probe(whole(path), LIMITS), request)
    assert read_corners(region.clips(request)[0][0]) == "rgbw"


@pytest.mark.parametrize(
    "name", ["arm_wrestling.mp4", "av1.mkv", "flipping_a_pancake.mkv", "h264_10bit.mp4", "sintel.mp4"]
)
def test_real_clips_decode(real_videos, region, name):
    source = whole(real_videos / name)
    media = decode.probe(source, LIMITS)
    request = region.request([media.duration_s / 2 + i / 30 for i in range(4)])
    decoded = decode.decode(source, media, request)
    assert not any(decoded.padded)
    assert region.clips(request)[0].std() > 10


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_real_rotated_clips_become_upright(real_videos, region, turn):
    request = region.request([0.0], resize=64, crop=64)
    pictures = []
    for name in ("video_0.mov", f"video_{turn}.mov"):
        source = whole(real_videos / name)
        decode.decode(source, decode.probe(source, LIMITS), request)
        pictures.append(region.clips(request)[0][0].astype(float))
    wrong = [np.abs(np.rot90(pictures[1], k) - pictures[0]).mean() for k in range(4)]
    assert wrong.index(min(wrong)) == 0


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_title_in_another_encoding_is_ignored(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    with av.open(path, "w") as container:
        container.metadata["title"] = "TITLE"
        stream = container.add_stream("mpeg4", rate=30, width=160, height=120, pix_fmt="yuv420p")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"caf\xe9s"))
    assert b"caf\xe9s" in path.read_bytes()
    assert decode.probe(whole(path), LIMITS).width == 160


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("film.mp4", {"gop": 40, "options": NO_CUTS}),
        ("film.mkv", {"gop": 40, "options": NO_CUTS}),
        ("film.ts", {"gop": 40, "options": NO_CUTS}),
        ("film.webm", {"gop": 40, **FILMS["webm"]}),
        ("film.mov", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_movable_clip_starts_at_a_key_frame(tmp_path, region, name, made):
    path = write_video(tmp_path / name, map(numbered, range(COUNT)), **made)
    # 100 frames at 30 fps: two clips of 6 frames may move within 47 frames each, and start at 23 and 70
    clips = EvenClips(2, 5 / 30, 2, max_shift_s=60)
    request = replace(region.request([0.0, 0.0], [0.0, 0.0]), clips=clips)
    decoded = decode.decode(whole(path), decode.probe(whole(path), LIMITS), request)
    # A key frame every 40th. With Motion JPEG each is one
    wanted = [[23, 28], [70, 75]] if "mjpeg" in made.values() else [[40, 45], [80, 85]]
    assert [[read_number(frame) for frame in clip] for clip in region.clips(request)] == wanted
    assert [list(row) for row in decoded.frames] == wanted
