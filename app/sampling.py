"""Where in a video the clips lie: pure arithmetic in seconds, no file is touched here.

A model trained on `frames` frames, every `stride`-th at `fps` frames per second, sees the same span of time of
every video, whatever that video's own frame rate is:

    frames=4 stride=3 fps=30      fxxfxxfxxf    span = 3 * 3 / 30 s = 0.3 s
    a 60 fps video                fxxxxxfxxxxxfxxxxxf
    a 20 fps video                fxfxfxf
"""

import math
from typing import NamedTuple

ROUNDING = 1e-6  # frames; a start that is a frame's time but for floating point stays that frame


class Clip(NamedTuple):
    """Times in seconds at which the frames of one clip should lie; the decoder takes the nearest frame to each."""

    times_s: tuple[float, ...]


def span_s(frames: int, stride: int, fps: float) -> float:
    """Seconds from the first to the last frame of a clip."""
    return (frames - 1) * stride / fps


def clip_times(
    duration_s: float, video_fps: float | None, frames: int, stride: int, fps: float, clips: int
) -> tuple[Clip, ...]:
    """`clips` clips spread evenly over a video of `duration_s` seconds; one clip lies in the middle.

    The video is cut into as many equal parts as there are clips, and each clip lies in the middle of the room
    that its part leaves, from a frame on: half-way between two frames the nearest one would be a matter of chance.
    A video shorter than a clip is sampled from its start; the times then run past its end.
    """
    last_frame_s = max(0.0, duration_s - (1 / video_fps if video_fps else 0.0))
    room_s = max(0.0, last_frame_s - span_s(frames, stride, fps))
    starts = [room_s * (index + 0.5) / clips for index in range(clips)]
    if video_fps:
        starts = [math.floor(start * video_fps + ROUNDING) / video_fps for start in starts]
    return tuple(Clip(tuple(start + i * stride / fps for i in range(frames))) for start in starts)
