"""One pass over a video gives the windows that would be decoded one by one, and the cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app import video
from app.errors import Undecodable
from app.media import Limits, Media, Source
from app.sweep import Cut, End, Window, sweep
from app.timeline import Windows, windows
from tests.films import numbered, panning, write_video
from tests.regions import Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=100_000, max_duration_s=3600)


def swept(source: Source, placed: Windows, first: int = 0, size: int = 64) -> tuple[Media, list, dict[int, np.ndarray]]:
    """Facts, events, and what was written for each window."""
    media = video.probe(source, LIMITS)
    slot = np.zeros((placed.frames, size, size, 3), np.uint8)
    events, written = [], {}
    for event in sweep(source, media, placed, first, size, size, lambda: slot):
        events.append(event)
        if isinstance(event, Window):
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
def test_every_window_is_what_decoding_it_alone_gives(name: str, hop: float, tmp_path: Path) -> None:
    source = whole(films(tmp_path)[name])
    placed = windows(2.5, 30.0, frames=4, stride=5, fps=30, hop_s=hop)
    media, events, written = swept(source, placed)
    found = [event for event in events if isinstance(event, Window)]
    assert [event.index for event in found] == list(range(placed.count))
    region = Region(tmp_path / "region", 8 << 20)
    request = region.request(*(placed.times_s(index) for index in range(placed.count)))
    alone = video.decode(source, media, request)
    for event, frames, clip in zip(found, alone.frames, region.clips(request), strict=True):
        assert event.frames == frames
        np.testing.assert_array_equal(written[event.index], clip)
    assert events[-1] == End(75, truncated=False)


def test_a_pass_may_begin_at_any_window(tmp_path: Path) -> None:
    source = whole(films(tmp_path)["mp4"])
    placed = windows(2.5, 30.0, frames=4, stride=5, fps=30, hop_s=0.2)
    _, _, everything = swept(source, placed)
    _, events, rest = swept(source, placed, first=6)
    assert sorted(rest) == list(range(6, placed.count))
    for index, frames in rest.items():
        np.testing.assert_array_equal(frames, everything[index])


def test_cuts_between_scenes_are_found_and_a_moving_camera_is_none(tmp_path: Path) -> None:
    light = (1.0, 0.5, 0.9, 0.3)
    frames = [
        (frame * light[scene]).astype(np.uint8)
        for scene in range(4)
        for frame in panning(45, 320, 240, step=4, seed=scene)
    ]
    source = whole(write_video(tmp_path / "scenes.mp4", frames))
    _, events, _ = swept(source, windows(6.0, 30.0, frames=4, stride=5, fps=30, hop_s=0.5))
    cuts = [event.time_s for event in events if isinstance(event, Cut)]
    assert len(cuts) == 3
    assert cuts == pytest.approx([1.5, 3.0, 4.5], abs=0.11)


def test_a_short_video_is_one_padded_window(tmp_path: Path) -> None:
    source = whole(write_video(tmp_path / "short.mp4", map(numbered, range(6))))
    _, events, _ = swept(source, windows(0.2, 30.0, frames=4, stride=5, fps=30, hop_s=0.5))
    assert events[0] == Window(0, (0, 5, 5, 5), padded=True)


def test_a_damaged_video_is_told(tmp_path: Path) -> None:
    path = films(tmp_path)["mp4"]
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 200
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(Undecodable):
        swept(whole(path), windows(2.5, 30.0, frames=4, stride=5, fps=30, hop_s=0.2))
