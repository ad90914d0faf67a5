"""Presentation times of a video's frames, read from its packets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import BinaryIO

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from .clock import Clock
from .probe import demux, open_video

EQUAL_S = 5e-4  # The service's rules (app/media/sampling.py): times this close are equal
MAX_GAP_S = 0.2  # a frame that stays longer is a still


@dataclass(frozen=True)
class FrameTimes:
    """Presentation times of a video's frames, in units of `base` seconds.

    `timestamps` rise; `end` is the end of the last frame. `keys` are presentation and decoding time of each key frame.
    """

    base: Fraction
    timestamps: list[int]
    keys: list[tuple[int, int]]
    end: int

    def time_s(self, number: int) -> float:
        """Return the time of a frame, in seconds after the first one."""
        return float((self.timestamps[number] - self.timestamps[0]) * self.base)

    @property
    def gap_s(self) -> float:
        """Return the usual time between two frames, in seconds."""
        gaps = [
            after - before
            for before, after in zip(self.timestamps, self.timestamps[1:], strict=False)
            if after > before
        ]
        usual = median(gaps) if gaps else max(0, self.end - self.timestamps[-1])
        return min(float(usual * self.base), MAX_GAP_S)

    @property
    def end_s(self) -> float:
        """Return the end of the last frame, in seconds after the first frame."""
        last_s = self.time_s(len(self.timestamps) - 1)
        end_s = float((self.end - self.timestamps[0]) * self.base)
        return end_s if end_s > last_s else last_s + self.gap_s

    def frame_on_screen(self, time_s: float) -> int:
        """Return the number of the last frame shown at or before a time after the first one."""
        return max(0, bisect_right(range(len(self.timestamps)), time_s + EQUAL_S, key=self.time_s) - 1)

    def frame_at(self, time_s: float, gap_s: float) -> int:
        """Return the number of the nearest frame within half the usual gap, else of the one on screen."""
        current = self.frame_on_screen(time_s)
        following = min(current + 1, len(self.timestamps) - 1)
        ahead_s, behind_s = self.time_s(following) - time_s, time_s - self.time_s(current)
        nearer = ahead_s + EQUAL_S < behind_s and ahead_s <= gap_s / 2 + EQUAL_S
        return following if nearer else current


def read_frame_times(file: BinaryIO) -> FrameTimes:
    """List the frames of a video without decoding; raise ValueError if they cannot be found by time."""
    timestamps: list[tuple[int, int]] = []
    keys: list[tuple[int, int]] = []
    with open_video(file) as (container, stream):
        base = stream.time_base or Fraction(1)
        clock = Clock(float(1 / base), demuxer(container))
        for packet in demux(container, stream):
            stamp = clock.stamp(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe)
            if stamp is None or not (keys or packet.is_keyframe):
                continue
            if packet.is_keyframe:
                keys.append((stamp, stamp if packet.dts is None else packet.dts))
            if not packet.is_discard:
                timestamps.append((stamp, packet.duration or 0))
    if not timestamps or clock.jumps:
        raise ValueError("no frame can be sought by its time")
    timestamps.sort()
    return FrameTimes(base, [stamp for stamp, _ in timestamps], sorted(keys), sum(timestamps[-1]))


def packets_on_clock(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield all packets, with timestamps that never jump back."""
    clock = Clock(float(1 / (stream.time_base or Fraction(1))), demuxer(container))
    for packet in demux(container, stream):
        pts, dts = packet.pts, packet.dts
        stamp = clock.stamp(pts, dts, packet.duration or 0, packet.is_keyframe)
        packet.pts = None if pts is None else stamp
        packet.dts = None if dts is None else dts + clock.offset
        yield packet


def demuxer(container: InputContainer) -> str:
    """Return FFmpeg's name of a container's format."""
    return container.format.name.split(",")[0]
