"""One pass over a video gives the windows that would be decoded one by one, and the cuts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Container
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from app.errors import LimitExceeded, Undecodable
from app.media.types import Limits, Media, Source
from app.timeline.scan import Cut, ScanSpec, ScanStarted, Window, scan
from app.timeline.windows import Grid
from app.video import decode
from tests.support.coded import BT2020, LIMITED, PQ, Coding, quarters, write_coded
from tests.support.films import corners, numbered, panning, read_corners, read_number, texture, write_video
from tests.support.odd_films import interlaced
from tests.support.regions import Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=100_000, max_duration_s=3600)
STEP_S = 5 / 30


def swept(
    source: Source, hop_s: float, first: int = 0, size: int = 64, keep: Container[int] = range(1000), most: int = 1000
) -> tuple[Media, list, dict[int, np.ndarray]]:
    """Return facts, events, and the pixels of the windows in `keep`, each of 4 frames, 5 frames apart."""
    media = decode.probe(source, LIMITS)
    slot = np.zeros((4, size, size, 3), np.uint8)
    look = ScanSpec(Grid(4, STEP_S, hop_s), first, size, size, most)
    events, written = [], {}
    for event in scan(source, media, look, lambda: slot):
        events.append(event)
        if isinstance(event, Window):
            if event.index in keep:
                written[event.index] = slot.copy()
            slot[:] = 0
    return media, events, written


def films(folder: Path) -> dict[str, Path]:
    return {
        "mp4": write_video(folder / "film.mp4", map(numbered, range(75))),
        "b_frames": write_video(folder / "b.mp4", map(numbered, range(75)), options={"bf": "3", "g": "20"}),
        "ts": write_video(folder / "film.ts", map(numbered, range(75))),
        "mkv": write_video(folder / "film.mkv", map(numbered, range(75))),
    }


@pytest.mark.parametrize("name", ["mp4", "b_frames", "ts", "mkv"])
@pytest.mark.parametrize("hop", [0.1, 0.35, 1.5])
def test_every_window_equals_its_own_decode(name: str, hop: float, tmp_path: Path) -> None:
    source = whole(films(tmp_path)[name])
    media, events, written = swept(source, hop)
    begin = events[0]
    assert isinstance(begin, ScanStarted)
    assert (begin.total, begin.truncated, round(begin.duration_s, 3)) == (75, False, 2.5)
    placed = begin.windows
    windows = [event for event in events if isinstance(event, Window)]
    assert [event.index for event in windows] == list(range(placed.count))
    region = Region(tmp_path / "region", 8 << 20)
    request = region.request(*map(tuple, placed.times_s().tolist()))
    alone = decode.decode(source, media, request)
    for event, frames, clip in zip(windows, alone.frames, region.clips(request), strict=True):
        assert event.frames == frames
        np.testing.assert_array_equal(written[event.index], clip)


def test_scan_may_start_at_any_window(tmp_path: Path) -> None:
    source = whole(films(tmp_path)["mp4"])
    _, _, everything = swept(source, 0.2)
    _, _, rest = swept(source, 0.2, first=6)
    assert sorted(rest) == list(range(6, len(everything)))
    for index, frames in rest.items():
        np.testing.assert_array_equal(frames, everything[index])


def test_frame_shown_for_an_hour_is_stored_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "still.mkv", map(numbered, range(10)), pts=[*range(0, 360, 40), 90_000])
    source = whole(path)
    tracemalloc.start()
    try:
        _, events, written = swept(source, 0.01, keep=range(1000, 9000, 1000), most=10_000)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    windows = [event for event in events if isinstance(event, Window)]
    assert len(windows) > 8900
    assert [event.index for event in windows] == list(range(len(windows)))
    assert {windows[1000].frames, windows[8000].frames} == {(8,) * 4}
    assert [[read_number(frame) for frame in clip] for clip in written.values()] == [[8] * 4] * 8
    assert held < 30e6  # 220 MB window by window


def four_scenes(folder: Path) -> Source:
    """Return four scenes of 1.5 s each, filmed by a moving camera."""
    light = (1.0, 0.5, 0.9, 0.3)
    frames = [
        (frame * light[scene]).astype(np.uint8)
        for scene in range(4)
        for frame in panning(45, 320, 240, step=4, seed=scene)
    ]
    return whole(write_video(folder / "scenes.mp4", frames))


def cuts_of(events: list) -> list[float]:
    return [event.time_s for event in events if isinstance(event, Cut)]


def test_cuts_are_found_and_camera_moves_are_not(tmp_path: Path) -> None:
    cuts = cuts_of(swept(four_scenes(tmp_path), 0.5)[1])
    assert len(cuts) == 3
    assert cuts == pytest.approx([1.5, 3.0, 4.5], abs=0.11)


@pytest.mark.parametrize("first", range(1, 11, 3))
def test_pass_from_the_middle_finds_unreported_cuts(first: int, tmp_path: Path) -> None:
    source = four_scenes(tmp_path)
    _, events, _ = swept(source, 0.5)
    before = next(place for place, event in enumerate(events) if isinstance(event, Window) and event.index == first - 1)
    result = cuts_of(events[:before])
    _, rest, _ = swept(source, 0.5, first)
    assert sorted({*result, *cuts_of(rest)}) == cuts_of(events)


def test_a_timeline_with_too_many_windows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="hop_s"):
        swept(whole(films(tmp_path)["mp4"]), 0.001)


def test_a_short_video_is_one_padded_window(tmp_path: Path) -> None:
    source = whole(write_video(tmp_path / "short.mp4", map(numbered, range(6))))
    _, events, _ = swept(source, 0.5)
    assert events[1] == Window(0, (0, 5, 5, 5), padded=True)


def test_damaged_video_raises(tmp_path: Path) -> None:
    path = films(tmp_path)["mp4"]
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 200
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(Undecodable):
        swept(whole(path), 0.2)


def slides(folder: Path, suffix: str) -> Source:
    """A video of three pictures, shown from 0, 8 and 20 s, until 28 s."""
    frames = [texture(160, 120, seed=number) for number in (0, 1, 2, 2)]
    return whole(write_video(folder / f"slides.{suffix}", frames, pts=[0, 8000, 20_000, 28_000]))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_cut_is_where_the_next_still_appears(tmp_path: Path, suffix: str) -> None:
    _, events, _ = swept(slides(tmp_path, suffix), 0.5)
    assert cuts_of(events) == pytest.approx([8.0, 20.0], abs=0.05)
    shown = {event.index * 0.5: event.frames for event in events if isinstance(event, Window)}
    assert {shown[start_s] for start_s in (0.0, 4.0, 7.0)} == {(0,) * 4}
    assert {shown[start_s] for start_s in (8.5, 14.0, 19.0)} == {(1,) * 4}
    assert {shown[start_s] for start_s in (20.5, 26.0)} == {(2,) * 4}


def test_cut_to_still_at_end_of_pass(tmp_path: Path) -> None:
    source = slides(tmp_path, "mp4")
    _, events, _ = swept(source, 0.5)
    before = next(place for place, event in enumerate(events) if isinstance(event, Window) and event.index == 23)
    _, rest, _ = swept(source, 0.5, 24)
    assert cuts_of(events[:before]) == [8.0]
    assert cuts_of(rest) == [20.0]


def test_low_frame_rate_has_no_stills(tmp_path: Path) -> None:
    frames = panning(20, 320, 240, step=20)
    path = write_video(tmp_path / "lapse.mp4", frames, 1)
    assert cuts_of(swept(whole(path), 0.5)[1]) == []


def odd_film(folder: Path, name: str) -> Path:
    if name == "interlaced":
        return interlaced(folder, "h264 mov", scale=2)[0]
    if name == "pq":
        coding = Coding("libx264", "yuv420p10le", BT2020, LIMITED, transfer=PQ, gamut=BT2020)
        return write_coded(folder / "film.mkv", coding, quarters(320, 240), count=30)
    stored = np.ascontiguousarray(corners(160, 120)[:, ::-1])
    return write_video(folder / "film.mp4", [stored] * 30, mirrored=True, aspect=Fraction(2))


@pytest.mark.parametrize("name", ["interlaced", "pq", "mirrored"])
def test_windows_have_the_pixels_of_clips(name: str, tmp_path: Path) -> None:
    source = whole(odd_film(tmp_path, name))
    media, events, written = swept(source, 0.1)
    placed = next(event.windows for event in events if isinstance(event, ScanStarted))
    region = Region(tmp_path / "region", 8 << 20)
    request = region.request(*map(tuple, placed.times_s().tolist()))
    decode.decode(source, media, request)
    assert len(written) > 1
    for index, clip in enumerate(region.clips(request)):
        assert np.abs(written[index].astype(int) - clip).max() <= (40 if name == "interlaced" else 0)
        assert name != "mirrored" or read_corners(written[index][0]) == "rgbw"
