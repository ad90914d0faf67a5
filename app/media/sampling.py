"""Selection of clip frames by time: pure arithmetic without file access.

A model trained on `frames` frames, every `stride`-th at `fps` frames per second, sees the same span of time in
every video, whatever its frame rate:

    frames=4 stride=3 fps=30      fxxfxxfxxf    span = 3 * 3 / 30 s = 0.3 s
    a 60 fps video                fxxxxxfxxxxxfxxxxxf
    a 20 fps video                fxfxfxf

The client has the same rules (client/clipstack_client/reduction/sampling.py), and one test checks both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

EQUAL_S = 5e-4  # tolerance for equal times: decord has 32-bit floats, Matroska milliseconds
AUTO_SHIFT_S, AUTO_SHARE = 0.5, 0.25  # of sampling "auto": longest shift in seconds, and as a share of the clip
MAX_GAP_S = 0.2  # longest usual gap; a frame shown for longer is a still, and the next one is never shown early

Times: TypeAlias = tuple[tuple[float, ...], ...]  # one row of seconds per clip


@dataclass(frozen=True, slots=True)
class Timing:
    """Display times of a video's frames in seconds after the first one, as a reader measured them."""

    times_s: NDArray[np.float64]  # (frames,), never decreasing
    keys_s: NDArray[np.float64]  # (keys,), of the key frames
    end_s: float  # when the last frame disappears
    gap_s: float  # usual time between two frames: the median, at most MAX_GAP_S

    @classmethod
    def of(cls, times_s: NDArray[np.float64], keys_s: NDArray[np.float64], end_s: float) -> Timing:
        """Return the timing with the usual gap; an `end_s` before the last frame becomes one usual gap after it."""
        gaps = np.diff(times_s)
        gaps = gaps[gaps > 0]
        last_s = float(times_s[-1])
        gap_s = min(float(np.median(gaps)) if len(gaps) else max(0.0, end_s - last_s), MAX_GAP_S)
        return cls(times_s, keys_s, end_s if end_s > last_s else last_s + gap_s, gap_s)

    @property
    def last_s(self) -> float:
        """Latest time at which the last frame of a clip may lie: one usual gap before the end."""
        return max(float(self.times_s[-1]), self.end_s - self.gap_s)

    @property
    def fps(self) -> float | None:
        """Mean frame rate, or None if it is unknown."""
        return round(len(self.times_s) / self.end_s, 3) if self.end_s > 0 else None


@dataclass(frozen=True, slots=True)
class EvenClips:
    """Layout of `count` clips of `frames` frames, `step_s` seconds from frame to frame, spread evenly over a video.

    Each clip moves by at most `max_shift_s` seconds, within its part of the video, to start at the nearest key frame.
    """

    frames: int
    step_s: float
    count: int = 1
    max_shift_s: float = 0.0

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last frame of a clip."""
        return (self.frames - 1) * self.step_s


def span_s(frames: int, stride: int, fps: float) -> float:
    """Return the seconds from the first to the last frame of a clip."""
    return (frames - 1) * stride / fps


def max_shift_s(sampling: str, clip_s: float) -> float:
    """Return how many seconds a clip that spans `clip_s` may move to a key frame, by the setting CLIPSTACK_SAMPLING."""
    if sampling == "auto":
        return min(AUTO_SHIFT_S, AUTO_SHARE * clip_s)
    return math.inf if sampling == "keyframe" else 0.0


def place_clips(timing: Timing, clips: EvenClips) -> Times:
    """Return the times at which the frames of each clip should lie.

    The video is divided into as many equal parts as there are clips, and each clip lies in the middle of the space in
    its part. It starts at the time of a frame, because half-way between two frames the nearest one would be arbitrary.
    A video shorter than a clip is sampled from its start; the times then extend past its end.
    """
    room_s = max(0.0, timing.last_s - clips.span_s)
    rows = []
    for index in range(clips.count):
        start_s = _frame_start(timing, room_s * (index + 0.5) / clips.count)
        if clips.max_shift_s > 0:
            low_s = max(room_s * index / clips.count, start_s - clips.max_shift_s)
            high_s = min(room_s * (index + 1) / clips.count, start_s + clips.max_shift_s)
            start_s = nearest_key(start_s, (low_s, high_s), timing.keys_s)
        rows.append(tuple(start_s + number * clips.step_s for number in range(clips.frames)))
    return tuple(rows)


def _frame_start(timing: Timing, time_s: float) -> float:
    """Return the time of the frame on screen, or `time_s` if that frame is a still."""
    start_s = float(timing.times_s[max(0, int(np.searchsorted(timing.times_s, time_s + EQUAL_S, side="right")) - 1)])
    return start_s if abs(time_s - start_s) <= timing.gap_s + EQUAL_S else time_s


def nearest_key(start_s: float, part_s: tuple[float, float], keys_s: NDArray[np.float64]) -> float:
    """Return the key frame nearest to `start_s` among those in `part_s`, or `start_s` if there is none."""
    low, high = part_s
    keys = keys_s[(keys_s >= low - EQUAL_S) & (keys_s <= high + EQUAL_S)]
    return float(keys[np.abs(keys - start_s).argmin()]) if len(keys) else start_s


def frames_at(timing: Timing, times_s: Sequence[float] | NDArray[np.float64]) -> list[int]:
    """Return the number of the frame for each time: the nearest within half a usual gap, else the one on screen."""
    targets_s = np.asarray(times_s, np.float64)
    frame_times_s = timing.times_s
    current = (np.searchsorted(frame_times_s, targets_s + EQUAL_S, side="right") - 1).clip(0)
    following = (current + 1).clip(max=len(frame_times_s) - 1)
    ahead, behind = frame_times_s[following] - targets_s, targets_s - frame_times_s[current]
    nearer = (ahead + EQUAL_S < behind) & (ahead <= timing.gap_s / 2 + EQUAL_S)
    return [int(number) for number in np.where(nearer, following, current)]


def is_mostly_repeated(frames: Sequence[int]) -> bool:
    """Return whether more than half of the frames of a clip repeat the frame before."""
    return 2 * len(set(frames)) < len(frames)
