"""Which moments of a video the service looks at, and where they must lie in a film of those frames alone.

The service samples by time. `clip_times` does what it does, from the same facts. What is sent is a film of the
chosen frames, one after the other, `stride / fps` seconds apart: the distance at which the service samples, so that it
takes each of them as it is. With one clip that film is exactly as long as the clip and there is no choice. With
more, here three of four frames (a, b, c), the service cuts the room into equal parts and looks into the middle of
each, so half a clip of filling (.) goes before and after:

    ..aaaabbbbcccc..        room = 3 * 4 frames, starts = 4 * (0.5, 1.5, 2.5) = 2, 6, 10
"""

from __future__ import annotations

import math

ROUNDING = 1e-6  # frames; as the service's


def clip_times(
    duration_s: float, video_fps: float | None, frames: int, stride: int, fps: float, clips: int
) -> tuple[tuple[float, ...], ...]:
    """The times in seconds of the frames of each clip; the frame nearest to each is looked at."""
    last_frame_s = max(0.0, duration_s - (1 / video_fps if video_fps else 0.0))
    room_s = max(0.0, last_frame_s - (frames - 1) * stride / fps)
    starts = [room_s * (index + 0.5) / clips for index in range(clips)]
    if video_fps:
        starts = [math.floor(start * video_fps + ROUNDING) / video_fps for start in starts]
    return tuple(tuple(start + i * stride / fps for i in range(frames)) for start in starts)


def places(frames: int, clips: int) -> list[tuple[int, int]]:
    """For each frame of the film to send the clip and the place in it that it shows; fillings repeat a neighbour."""
    lead = frames // 2 if clips > 1 else 0
    tail = frames - lead if clips > 1 else 0
    shown = [(clip, place) for clip in range(clips) for place in range(frames)]
    return [shown[0]] * lead + shown + [shown[-1]] * tail
