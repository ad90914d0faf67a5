"""Reduced files hold the frames that the service would decode from the whole file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.media.sampling import EvenClips, Timing, frames_at
from app.media.sampling import place_clips as service_place
from clipstack_client.reduction.frame_times import FrameTimes
from clipstack_client.reduction.prepare import probe
from clipstack_client.reduction.sampling import clip_times, film_layout, film_rate
from clipstack_client.reduction.transcode import MARGIN, shrunk_size
from tests.integration.client.reduced import decode, grainy, model, reduce_file
from tests.support.films import numbered, panning, read_number, write_sound, write_video
from tests.support.timings import regular


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return tmp_path / "small.bin"


def timelines() -> Iterator[tuple[list[int], int]]:
    """Yield times of frames and the end of the last one, in units of 1/997 s, which no clip's times share."""
    yield [0], 0
    yield [7], 40
    for count in (2, 12, 90, 311):
        for gap in (16, 33, 40, 100, 1000):
            yield [5 + gap * number for number in range(count)], 5 + gap * count
    yield [0, 8000, 20000], 28000  # slides
    yield [*range(0, 1500, 33), *range(21500, 23000, 33)], 23000  # a recorder that paused
    chance = np.random.default_rng(4)
    for _ in range(20):
        shown = np.cumsum(chance.integers(0, 90, 60)).tolist()
        yield shown, shown[-1] + int(chance.integers(0, 90))


@pytest.mark.parametrize("clips", [1, 2, 5])
@pytest.mark.parametrize(("frames", "stride", "fps"), [(8, 4, 30.0), (13, 6, 30.0), (16, 5, 25.0), (1, 1, 1.0)])
def test_clip_times_match_the_service(frames: int, stride: int, fps: float, clips: int) -> None:
    for shown, end in timelines():
        times = FrameTimes(Fraction(1, 997), shown, [], end)
        timing = Timing.of((np.array(shown) - shown[0]) / 997, np.zeros(1), (end - shown[0]) / 997)
        wanted = service_place(timing, EvenClips(frames, stride / fps, clips))
        np.testing.assert_allclose(clip_times(times, frames, stride / fps, clips), wanted)
        for times_s in wanted:
            assert [times.frame_at(time_s, times.gap_s) for time_s in times_s] == frames_at(timing, times_s)


@pytest.mark.parametrize("clips", [1, 2, 3, 7])
@pytest.mark.parametrize(("frames", "stride", "fps"), [(8, 4, 30.0), (13, 6, 30.0), (16, 5, 24000 / 1001), (1, 1, 1.0)])
def test_service_samples_every_frame_of_a_reduced_film(frames: int, stride: int, fps: float, clips: int) -> None:
    film = film_layout(frames, clips)
    timing = regular(len(film), float(film_rate(frames, stride, fps)))
    for clip, times_s in enumerate(service_place(timing, EvenClips(frames, stride / fps, clips))):
        shown = [film[number] for number in frames_at(timing, times_s)]
        assert shown == [(clip, place) for place in range(frames)]


@pytest.fixture(
    scope="module",
    params=[
        ("mp4", 30, 0, "libx264"),
        ("mp4", Fraction(24000, 1001), 0, "libx264"),
        ("mov", 25, 90, "libx264"),
        ("mkv", 60, 0, "libx264"),
        ("webm", 30, 0, "libvpx-vp9"),
    ],
    ids=["mp4", "mp4-film", "mov-turned", "mkv", "webm"],
)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A film of numbered frames in each container, and its rotation."""
    suffix, fps, rotation, codec = request.param
    options = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx-vp9" else {"preset": "ultrafast"}
    path = tmp_path_factory.mktemp("films") / f"film.{suffix}"
    return write_video(path, grainy(60), fps, rotation=rotation, codec=codec, options=options), rotation


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("reduction", ["frames", "shrink"])
def test_reduced_file_holds_the_frames_of_the_original(
    film: tuple[Path, int], small: Path, reduction: str, clips: int
) -> None:
    path, rotation = film
    wanted_model = model(crop=80)
    reduced = reduce_file(path, reduction, wanted_model, clips)
    assert reduced is not None
    with reduced.file:
        small.write_bytes(reduced.file.read())
    media, decoded, pixels = decode(path, wanted_model, clips)
    _, again, pixels_again = decode(small, wanted_model, clips)
    assert reduced.facts.container == media.container
    assert (reduced.facts.width, reduced.facts.height, reduced.facts.rotation) == (
        media.width,
        media.height,
        media.rotation,
    )
    if reduced.selection is None:
        assert again.frames == decoded.frames
    else:
        assert [clip.frames for clip in reduced.selection.clips] == [tuple(row) for row in decoded.frames]
        assert (reduced.selection.frames, reduced.selection.fps) == (decoded.total, decoded.fps)
        assert reduced.selection.duration_s == pytest.approx(decoded.duration_s, abs=1e-3)
    assert again.padded == decoded.padded
    assert np.abs(pixels - pixels_again).mean() < 6
    if rotation == 0:
        numbers = [[read_number(frame) for frame in clip] for clip in pixels_again.astype(np.uint8)]
        assert numbers == [list(row) for row in decoded.frames]


@pytest.mark.parametrize(("width", "height", "crop"), [(320, 240, 64), (427, 240, 79), (241, 333, 33)])
def test_crop_matches_the_service(tmp_path: Path, small: Path, width: int, height: int, crop: int) -> None:
    path = write_video(tmp_path / "film.mkv", panning(30, width, height), codec="ffv1", pixels="yuv444p")
    reduced = reduce_file(path, "frames", model(crop=crop))
    assert reduced is not None
    with reduced.file:
        small.write_bytes(reduced.file.read())
    _, _, pixels = decode(path, model(crop=crop), 1)
    _, _, pixels_again = decode(small, model(crop=crop), 1)
    assert np.abs(pixels - pixels_again).mean() < 2.5


def test_short_video_is_padded(tmp_path: Path, small: Path) -> None:
    path = write_video(tmp_path / "short.mp4", panning(9, 320, 240), options={"crf": "4"})
    reduced = reduce_file(path, "frames", model())
    assert reduced is not None and reduced.selection is not None
    with reduced.file:
        small.write_bytes(reduced.file.read())
    _, decoded, pixels = decode(path, model(), 1)
    _, again, pixels_again = decode(small, model(), 1)
    assert (decoded.padded, again.padded, reduced.selection.clips[0].padded) == ((True,), (False,), True)
    assert np.abs(pixels - pixels_again).mean() < 6
    answer = reduced.describe({"media": {"frames": 8}, "clips": [], "warnings": []})
    assert answer["warnings"] == ["the video is shorter than one clip: its last frame was repeated"]
    assert (answer["media"]["duration_s"], answer["sent"]["reduction"]) == (pytest.approx(0.3), "frames")


def test_file_that_would_not_shrink_is_not_reduced(tmp_path: Path) -> None:
    path = write_video(tmp_path / "tiny.mp4", [numbered(0, 32, 32)] * 2)
    assert reduce_file(path, "shrink", model()) is None
    assert reduce_file(path, "frames", model()) is None


@pytest.mark.parametrize("damage", ["cut", "sound", "text", "empty"])
def test_incomplete_video_is_sent_unchanged(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "film.mp4"
    if damage == "sound":
        write_sound(path)
    elif damage == "cut":
        write_video(path, panning(30))
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.write_bytes(b"no video" if damage == "text" else b"")
    with path.open("rb") as file:
        assert probe(file, path.stat().st_size) is None


TRUNCATED: dict[str, dict[str, Any]] = {
    "mkv": {}, "flv": {}, "ts": {}, "avi": {"codec": "mpeg4"}, "webm": {"codec": "libvpx"},
    "mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}},
}  # fmt: skip


@pytest.mark.parametrize("suffix", TRUNCATED)
def test_truncated_film_is_sent_unchanged(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"film.{suffix}", panning(60), gop=10, **TRUNCATED[suffix])
    whole = path.stat().st_size
    with path.open("r+b") as file:
        assert probe(file, whole) is not None
        kept = whole * 7 // 10 // 188 * 188 + 90
        file.truncate(kept)
        assert probe(file, kept) is None


def test_repeated_frames_of_a_clip_give_a_warning(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slides.mp4", panning(4, 320, 240), pts=[0, 8000, 20_000, 28_000])
    reduced = reduce_file(path, "frames", model())
    assert reduced is not None
    with reduced.file:
        answer = reduced.describe({"media": {"frames": 8}, "clips": [], "warnings": []})
    (warning,) = answer["warnings"]
    assert "few different frames" in warning
    _, decoded, _ = decode(path, model(), 1)
    assert (answer["media"]["frames"], answer["media"]["duration_s"]) == (4, pytest.approx(decoded.duration_s))


def test_playlists_open_no_other_file(tmp_path: Path) -> None:
    write_video(tmp_path / "film.ts", panning(10))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/film.ts\n#EXT-X-ENDLIST\n"
    assert probe(io.BytesIO(playlist.encode()), len(playlist)) is None


@pytest.mark.parametrize(
    ("width", "height", "size"), [(1920, 1080, (284, 160)), (240, 426, (160, 284)), (101, 81, (100, 80))]
)
def test_shrunk_size_is_even_and_never_larger(width: int, height: int, size: tuple[int, int], tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", [numbered(0, 160, 120)])
    with path.open("rb") as file:
        facts = probe(file, path.stat().st_size)
    assert facts is not None
    assert shrunk_size(type(facts)(**{**vars(facts), "width": width, "height": height}), 160 // MARGIN) == size
