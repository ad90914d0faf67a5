"""Clips are placed by time, and the frame at a time is the one on screen."""

import math

import numpy as np
import pytest

from app.media.sampling import (
    EvenClips,
    Timing,
    frames_at,
    is_mostly_repeated,
    max_shift_s,
    nearest_key,
    place_clips,
    span_s,
)
from tests.support.timings import regular

MODEL = EvenClips(16, 5 / 30)


def irregular(*times_s: float, end_s: float) -> Timing:
    return Timing.of(np.array(times_s), np.array(times_s[:1]), end_s)


def test_one_clip_lies_in_the_middle() -> None:
    (times_s,) = place_clips(regular(300, 30), EvenClips(3, 0.5))
    assert times_s == pytest.approx((4.467, 4.967, 5.467), abs=1e-3)


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_span_does_not_depend_on_frame_rate(fps: int) -> None:
    (times_s,) = place_clips(regular(4 * fps, fps), MODEL)
    assert times_s[-1] - times_s[0] == pytest.approx(span_s(16, 5, 30)) == pytest.approx(2.5)


def test_clips_cover_the_video_evenly_and_stay_inside() -> None:
    rows = place_clips(regular(9 * 25, 25), EvenClips(8, 4 / 30, 3))
    starts = [row[0] for row in rows]
    assert starts[1] - starts[0] == pytest.approx(starts[2] - starts[1], abs=0.041)
    assert starts[0] > 0
    assert rows[-1][-1] <= 9.0 - 1 / 25


def test_short_video_is_sampled_from_its_start_past_its_end() -> None:
    (times_s,) = place_clips(regular(12, 24), EvenClips(8, 4 / 30))
    assert times_s[0] == 0.0
    assert times_s[-1] == pytest.approx(7 * 4 / 30)


@pytest.mark.parametrize("count", [90, 91, 60, 291])
def test_clip_starts_on_a_frame(count: int) -> None:
    for times_s in place_clips(regular(count, 30), EvenClips(8, 4 / 30, 3)):
        numbers = [time_s * 30 for time_s in times_s]
        assert numbers == pytest.approx([round(number) for number in numbers], abs=1e-6)


def test_clip_inside_a_still_stays_there() -> None:
    slides = irregular(0.0, 8.0, 20.0, end_s=28.0)
    (times_s,) = place_clips(slides, EvenClips(6, 0.4))
    assert times_s[0] == pytest.approx((28 - 0.2 - 2.0) / 2)
    assert frames_at(slides, times_s) == [1] * 6


KEYS_S = np.array([0.0, 6.68, 8.2, 9.6])


@pytest.mark.parametrize(
    ("start_s", "part_s", "moved_s"),
    [
        (3.7, (0.0, 7.4), 6.68),  # the nearest one, before or after
        (3.2, (0.0, 7.4), 0.0),
        (3.7, (0.0, 6.0), 0.0),  # that one would not leave the clip in its part
        (2.0, (1.0, 3.0), 2.0),  # there is none in it: the clip stays where it is
        (6.68, (0.0, 7.4), 6.68),
    ],
)
def test_clip_moves_to_nearest_key_frame_in_its_part(start_s, part_s, moved_s):
    assert nearest_key(start_s, part_s, KEYS_S) == pytest.approx(moved_s)


def test_clips_from_key_frames_stay_in_their_parts():
    timing = regular(250, 25, keys_s=(0.0, 3.0, 4.0, 8.0))
    rows = place_clips(timing, EvenClips(8, 4 / 30, 4, max_shift_s=math.inf))
    assert [row[0] for row in rows] == pytest.approx([0.0, 3.0, 5.64, 8.0])  # there is none in the third


@pytest.mark.parametrize(
    ("sampling", "clip_s", "start_s"),
    [("exact", 4.0, 3.0), ("auto", 4.0, 3.5), ("auto", 1.9, 3.0), ("auto", 2.1, 3.5), ("keyframe", 1.0, 3.5)],
)
def test_auto_moves_a_clip_within_both_limits(sampling: str, clip_s: float, start_s: float) -> None:
    timing = regular(250, 25, keys_s=(0.0, 3.5, 8.0))
    step_s = (timing.last_s - 6.0) / 7
    clips = EvenClips(8, step_s, max_shift_s=max_shift_s(sampling, clip_s))
    assert place_clips(timing, clips)[0][0] == pytest.approx(start_s)


def test_auto_moves_at_most_half_a_second() -> None:
    assert (max_shift_s("auto", 60.0), max_shift_s("auto", 28 / 30)) == (0.5, pytest.approx(7 / 30))


@pytest.mark.parametrize(
    ("time_s", "number"),
    [(0.0, 0), (4.0, 0), (7.89, 0), (7.95, 1), (8.0, 1), (14.1, 1), (19.8, 1), (20.0, 2), (99.0, 2)],
)
def test_frame_on_screen_is_the_last_one_shown(time_s: float, number: int) -> None:
    assert frames_at(irregular(0.0, 8.0, 20.0, end_s=28.0), [time_s]) == [number]


def test_nearest_frame_counts_within_half_a_usual_gap() -> None:
    timing = irregular(0.0, 0.04, 0.08, 1.0, 1.04, 1.08, end_s=1.12)
    assert frames_at(timing, [0.025, 0.07, 0.9, 0.97, 0.985, 1.02, 1.03]) == [1, 2, 2, 2, 3, 3, 4]


def test_earlier_of_two_frames_equally_near() -> None:
    assert frames_at(regular(30, 10), [0.05, 0.15, 0.25]) == [0, 1, 2]


def test_frames_may_have_equal_times() -> None:
    timing = Timing.of(np.array([0.0, 0.0, 0.033, 0.033, 0.066, 0.066]), np.array([0.0]), 0.1)
    assert [number // 2 for number in frames_at(timing, [0.0, 0.033, 0.07])] == [0, 1, 2]


def test_one_frame_without_a_length() -> None:
    timing = Timing.of(np.array([0.0]), np.array([0.0]), 0.0)
    assert (timing.end_s, timing.last_s, timing.fps) == (0.0, 0.0, None)
    assert frames_at(timing, place_clips(timing, MODEL)[0]) == [0] * 16


@pytest.mark.parametrize(
    ("frames", "repeated"), [([0, 1, 2, 3], False), ([0, 0, 1, 1], False), ([0, 0, 0, 1, 1], True), ([4], False)]
)
def test_clip_of_mostly_repeated_frames(frames: list[int], repeated: bool) -> None:
    assert is_mostly_repeated(frames) is repeated
