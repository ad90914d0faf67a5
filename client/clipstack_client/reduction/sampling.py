"""Times that the service samples in a video, and the layout of a film of those frames only.

The service samples by time. `clip_times` calculates the same times from the same measurements; one test checks both.
The film has the selected frames in order, as far apart as the service samples (`film_rate`), so that the service takes
each one unchanged. With one clip, the film is exactly as long as the clip. With several clips, the service divides the
room into equal parts and samples the middle of each, so half a clip of padding (.) goes before and after. Three clips
(a, b, c) of four frames:

    ..aaaabbbbcccc..        room = 3 * 4 frames, starts = 4 * (0.5, 1.5, 2.5) = 2, 6, 10
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from .frame_times import EQUAL_S

if TYPE_CHECKING:
    from .frame_times import FrameTimes

STILLS_FPS = Fraction(30)


def clip_times(times: FrameTimes, frames: int, step_s: float, clips: int) -> tuple[tuple[float, ...], ...]:
    """Return the nominal times, in seconds, of the frames of each clip."""
    gap_s = times.gap_s
    last_s = max(times.time_s(len(times.timestamps) - 1), times.end_s - gap_s)
    room_s = max(0.0, last_s - (frames - 1) * step_s)
    rows = []
    for index in range(clips):
        start_s = room_s * (index + 0.5) / clips
        before_s = times.time_s(times.frame_on_screen(start_s))
        if abs(start_s - before_s) <= gap_s + EQUAL_S:
            start_s = before_s
        rows.append(tuple(start_s + number * step_s for number in range(frames)))
    return tuple(rows)


def film_rate(frames: int, stride: int, fps: float) -> Fraction:
    """Return the frames per second of the film; single frames may have any usual rate."""
    return Fraction(fps).limit_denominator(1001) / stride if frames > 1 else STILLS_FPS


def film_layout(frames: int, clips: int) -> list[tuple[int, int]]:
    """Return the clip and the position in it for each frame of the film; padding repeats its neighbour."""
    lead = frames // 2 if clips > 1 else 0
    tail = frames - lead if clips > 1 else 0
    content = [(clip, place) for clip in range(clips) for place in range(frames)]
    return [content[0]] * lead + content + [content[-1]] * tail
