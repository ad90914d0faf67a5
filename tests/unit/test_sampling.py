"""Clips are laid out by time."""

import numpy as np
import pytest

from app.sampling import clip_times, from_key_frame, span_s


def test_one_clip_lies_in_the_middle() -> None:
    (clip,) = clip_times(duration_s=10.0, video_fps=None, frames=3, stride=15, fps=30, clips=1)
    assert clip.times_s == pytest.approx((4.5, 5.0, 5.5))


@pytest.mark.parametrize("video_fps", [24, 30, 60])
def test_the_span_does_not_depend_on_the_videos_frame_rate(video_fps: float) -> None:
    (clip,) = clip_times(duration_s=4.0, video_fps=video_fps, frames=16, stride=5, fps=30, clips=1)
    assert clip.times_s[-1] - clip.times_s[0] == pytest.approx(span_s(16, 5, 30)) == pytest.approx(2.5)


def test_clips_cover_the_video_evenly_and_stay_inside() -> None:
    clips = clip_times(duration_s=9.0, video_fps=25, frames=8, stride=4, fps=30, clips=3)
    starts = [clip.times_s[0] for clip in clips]
    assert starts[1] - starts[0] == pytest.approx(starts[2] - starts[1])
    assert starts[0] > 0
    assert clips[-1].times_s[-1] < 9.0 - 1 / 25


def test_a_short_video_is_sampled_from_its_start_and_beyond_its_end() -> None:
    (clip,) = clip_times(duration_s=0.5, video_fps=24, frames=8, stride=4, fps=30, clips=1)
    assert clip.times_s[0] == 0.0
    assert clip.times_s[-1] == pytest.approx(7 * 4 / 30)


def test_a_video_of_no_known_length_is_sampled_from_its_start() -> None:
    clips = clip_times(duration_s=0.0, video_fps=None, frames=2, stride=1, fps=30, clips=2)
    assert [clip.times_s[0] for clip in clips] == [0.0, 0.0]


def test_a_single_frame_lies_in_the_middle() -> None:
    (clip,) = clip_times(duration_s=2.0, video_fps=None, frames=1, stride=1, fps=30, clips=1)
    assert clip.times_s == (1.0,)


@pytest.mark.parametrize("duration_s", [3.0, 3.01, 2.0, 9.7])
def test_a_clip_starts_on_a_frame_so_that_frames_are_evenly_apart(duration_s: float) -> None:
    for clip in clip_times(duration_s, video_fps=30, frames=8, stride=4, fps=30, clips=3):
        numbers = [time * 30 for time in clip.times_s]
        assert numbers == pytest.approx([round(number) for number in numbers], abs=1e-6)


KEYS_S = np.array([0.0, 6.68, 8.2, 9.6])


@pytest.mark.parametrize(
    ("start_s", "room_s", "moved_s"),
    [
        (3.7, (0.0, 7.4), 6.68),  # the nearest one, before or after
        (3.2, (0.0, 7.4), 0.0),
        (3.7, (0.0, 6.0), 0.0),  # that one would not leave the clip in its part
        (2.0, (1.0, 3.0), 2.0),  # there is none in it: the clip stays where it is
        (6.68, (0.0, 7.4), 6.68),
    ],
)
def test_a_clip_is_moved_to_the_nearest_key_frame_in_its_part(start_s, room_s, moved_s):
    moved = from_key_frame([start_s, start_s + 0.5, start_s + 1.0], room_s, KEYS_S)
    assert moved == pytest.approx([moved_s, moved_s + 0.5, moved_s + 1.0])


def test_the_rooms_of_clips_follow_each_other_and_hold_their_starts():
    clips = clip_times(duration_s=10.0, video_fps=25, frames=8, stride=4, fps=30, clips=4)
    edges = [clip.room_s for clip in clips]
    assert edges[0][0] == 0.0 and all(left[1] == right[0] for left, right in zip(edges, edges[1:], strict=False))
    assert all(low - 0.04 <= clip.times_s[0] <= high for clip, (low, high) in zip(clips, edges, strict=True))
    assert edges[-1][1] + span_s(8, 4, 30) == pytest.approx(10.0 - 1 / 25)
