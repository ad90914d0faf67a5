"""Where in a video the clips lie: pure arithmetic in seconds, no file is touched here.

A model trained on `frames` frames, every `stride`-th at `fps` frames per second, sees the same span of time of
every video, whatever that video's own frame rate is:

    frames=4 stride=3 fps=30      fxxfxxfxxf    span = 3 * 3 / 30 s = 0.3 s
    a 60 fps video                fxxxxxfxxxxxfxxxxxf
    a 20 fps video                fxfxfxf
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-6  # frames; a start that is a frame's time but for floating point stays that frame


class Clip(NamedTuple):
    """Times in seconds at which the frames of one clip should lie; the decoder takes the nearest frame to each.

    `room_s` is the earliest and the latest start that leaves the clip in its own part of the video.
    """

    times_s: tuple[float, ...]
    room_s: tuple[float, float] = (0.0, 0.0)


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
    rooms = [(room_s * index / clips, room_s * (index + 1) / clips) for index in range(clips)]
    return tuple(
        Clip(tuple(start + i * stride / fps for i in range(frames)), room)
        for start, room in zip(starts, rooms, strict=True)
    )


def from_key_frame(times_s: Sequence[float], room_s: tuple[float, float], keys_s: NDArray[np.float64]) -> list[float]:
    """The times of a clip, moved so that it starts at a key frame: the nearest of those in its room, if there is one.

    `keys_s` (keys,) are the times of the key frames; from one on nothing must be decoded that is not in the clip.
    """
    low, high = room_s
    keys = keys_s[(keys_s >= low - ROUNDING) & (keys_s <= high + ROUNDING)]
    if not len(keys):
        return list(times_s)
    shift_s = float(keys[np.abs(keys - times_s[0]).argmin()]) - times_s[0]
    return [time_s + shift_s for time_s in times_s]
