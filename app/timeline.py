"""A timeline: windows over a whole video, and their scores merged into segments. Pure arithmetic in seconds.

    windows    |----|            each as long as a clip of the model, `hop_s` after the one before
                 |----|
                   |----|
    stretches  ...| |...         what each speaks for: half a hop to both sides of its middle
    cuts             x           a stretch ends at a cut
    segments   aaaaabbbbbbb      neighbours with the same label
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.sampling import span_s

MARGIN = 0.1  # by how much another label must be ahead of the one before it: scores near a change go to and fro


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows of one video lie; window `i` begins at `start_s(i)` and shows frames at `times_s(i)`."""

    count: int
    hop_s: float
    frames: int
    step_s: float  # between two frames of a window

    @property
    def span_s(self) -> float:
        return (self.frames - 1) * self.step_s

    def start_s(self, index: int) -> float:
        return index * self.hop_s

    def times_s(self, index: int) -> tuple[float, ...]:
        return tuple(self.start_s(index) + place * self.step_s for place in range(self.frames))

    def middle_s(self, index: int) -> float:
        return self.start_s(index) + self.span_s / 2


def windows(
    duration_s: float, video_fps: float | None, frames: int, stride: int, fps: float, hop_s: float
) -> Windows:
    """Windows from the first frame on, as many as fit; a video shorter than one has one, which is padded."""
    last_frame_s = max(0.0, duration_s - (1 / video_fps if video_fps else 0.0))
    room_s = max(0.0, last_frame_s - span_s(frames, stride, fps))
    return Windows(1 + math.floor(room_s / hop_s + 1e-6), hop_s, frames, stride / fps)


@dataclass(frozen=True, slots=True)
class Segment:
    """`label` is the index of the class, `score` its mean over the windows that the segment was merged from."""

    start_s: float
    end_s: float
    label: int
    score: float


def segments(
    scores: NDArray[np.float32], placed: Windows, duration_s: float, cuts_s: Sequence[float], margin: float = MARGIN
) -> list[Segment]:
    """Segments that fill 0..`duration_s` without a gap; none crosses a cut.

    `scores` is (windows, classes), `cuts_s` rises. A window whose best label is not `margin` ahead of the label
    before it keeps that one (hysteresis). A window that shows both sides of a cut says nothing about either: its
    stretch takes the label of the nearest window on its own side.
    """
    merged: list[Segment] = []
    for begin_s, end_s, own in _shots(placed, len(scores), duration_s, cuts_s):
        labels = _steady(scores[own], margin)
        edges = [begin_s, *((placed.middle_s(a) + placed.middle_s(b)) / 2 for a, b in zip(own, own[1:])), end_s]  # noqa: B905, RUF007
        first = 0
        for place in range(1, len(own) + 1):
            if place == len(own) or labels[place] != labels[first]:
                mean = float(scores[own[first:place], labels[first]].mean())
                merged.append(Segment(edges[first], edges[place], labels[first], mean))
                first = place
    return merged


def _shots(
    placed: Windows, count: int, duration_s: float, cuts_s: Sequence[float]
) -> Iterator[tuple[float, float, list[int]]]:
    """Begin, end and windows of each stretch of the video between two cuts; the windows inside it, else the nearest."""
    edges = [0.0, *(cut for cut in cuts_s if 0 < cut < duration_s), duration_s]
    for begin_s, end_s in zip(edges, edges[1:], strict=False):
        inside = [
            index
            for index in range(count)
            if placed.start_s(index) >= begin_s - 1e-6 and placed.start_s(index) + placed.span_s < end_s + 1e-6
        ]
        middle = (begin_s + end_s) / 2
        yield begin_s, end_s, inside or [min(range(count), key=lambda index: abs(placed.middle_s(index) - middle))]


def _steady(scores: NDArray[np.float32], margin: float) -> list[int]:
    """The label of each window, with hysteresis."""
    labels: list[int] = []
    for row in scores:
        best = int(row.argmax())
        if labels and row[best] - row[labels[-1]] < margin:
            best = labels[-1]
        labels.append(best)
    return labels


__all__ = ["MARGIN", "Segment", "Windows", "segments", "windows"]
