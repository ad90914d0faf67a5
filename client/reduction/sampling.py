"""Which moments of a video the service looks at, and where they must lie in a film of those frames alone.

The service samples by time. `place` does what it does, from the same measured times; one test checks both. What is
sent is a film of the chosen frames, one after the other, as far apart as the service samples (`rate`), so that it takes
each of them as it is. With one clip that film is exactly as long as the clip and there is no
choice. With more, here three of four frames (a, b, c), the service cuts the room into equal parts and looks into the
middle of each, so half a clip of filling (.) goes before and after:

    ..aaaabbbbcccc..        room = 3 * 4 frames, starts = 4 * (0.5, 1.5, 2.5) = 2, 6, 10
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from client.reduction.stamps import EQUAL_S

if TYPE_CHECKING:
    from client.reduction.stamps import FrameTimes

STILLS_FPS = Fraction(30)


def place(stamps: FrameTimes, frames: int, step_s: float, clips: int) -> tuple[tuple[float, ...], ...]:
    """The times in seconds at which the frames of each clip should lie."""
    gap_s = stamps.gap_s
    last_s = max(stamps.time_s(len(stamps.shown) - 1), stamps.end_s - gap_s)
    room_s = max(0.0, last_s - (frames - 1) * step_s)
    rows = []
    for index in range(clips):
        start_s = room_s * (index + 0.5) / clips
        before_s = stamps.time_s(stamps.on_screen(start_s))
        if abs(start_s - before_s) <= gap_s + EQUAL_S:
            start_s = before_s
        rows.append(tuple(start_s + number * step_s for number in range(frames)))
    return tuple(rows)


def rate(frames: int, stride: int, fps: float) -> Fraction:
    """Frames per second of the film to send; single frames may follow each other at any usual rate."""
    return Fraction(fps).limit_denominator(1001) / stride if frames > 1 else STILLS_FPS


def places(frames: int, clips: int) -> list[tuple[int, int]]:
    """For each frame of the film to send the clip and the place in it that it shows; fillings repeat a neighbour."""
    lead = frames // 2 if clips > 1 else 0
    tail = frames - lead if clips > 1 else 0
    shown = [(clip, place) for clip in range(clips) for place in range(frames)]
    return [shown[0]] * lead + shown + [shown[-1]] * tail
