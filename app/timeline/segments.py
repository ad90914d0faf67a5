"""Scores of windows merged into segments. Pure arithmetic.

windows    |----|
             |----|
               |----|
stretches  ...| |...         what each speaks for: half a hop to both sides of its middle
cuts             x           a stretch ends at a cut
segments   aaaaabbbbbbb      neighbours with the same label
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.timeline.windows import Windows

MARGIN = 0.5  # by how much another label must be ahead, on average over a window's length: near a change scores waver
TOUCHES_S = 1e-6  # a window that ends at a cut's very frame does not cross it


@dataclass(frozen=True, slots=True)
class Segment:
    """`label` is the index of the class, `score` its mean over the windows that the segment was merged from."""

    start_s: float
    end_s: float
    label: int
    score: float


def segments(
    scores: NDArray[np.float32], placed: Windows, end_s: float, cuts_s: Sequence[float], margin: float = MARGIN
) -> list[Segment]:
    """Segments that fill 0..`end_s` without a gap; none crosses a cut.

    `scores` is (windows, classes), of the first windows of `placed`; `cuts_s` rises. Another label begins a segment
    only if it is ahead by `margin` on average for as long as a window lasts, or by more for less long (hysteresis).
    A window that shows both sides of a cut says nothing about either: where no window lies between two cuts, the
    nearest one speaks.
    """
    merged: list[Segment] = []
    if not len(scores):
        return merged
    change = margin * max(1.0, placed.grid.span_s / placed.grid.hop_s)
    for begin_s, stop_s, own in _shots(placed, len(scores), end_s, cuts_s):
        labels = _steady(scores[own.start : own.stop], change)
        first = 0
        start_s = begin_s
        for place in range(1, len(own) + 1):
            if place == len(own) or labels[place] != labels[first]:
                last = place == len(own)
                until_s = stop_s if last else (placed.middle_s(own[place - 1]) + placed.middle_s(own[place])) / 2
                mean = float(scores[own[first] : own[place - 1] + 1, labels[first]].mean())
                merged.append(Segment(start_s, until_s, labels[first], mean))
                first, start_s = place, until_s
    return merged


def at_most(most: int, merge: Callable[[float], list[Segment]], margin: float) -> list[Segment]:
    """Return what `merge` makes with `margin`, or with the next larger margins until there are no more than `most`."""
    merged = merge(margin)
    while len(merged) > most:
        margin = 4 * max(margin, 0.1)
        merged = merge(margin)
    return merged


def _shots(placed: Windows, count: int, end_s: float, cuts_s: Sequence[float]) -> Iterator[tuple[float, float, range]]:
    """Begin, end and windows of each stretch of the video between two cuts: the windows inside it, else the nearest."""
    starts = [placed.start_s(index) for index in range(count)]
    span_s = placed.grid.span_s
    edges = [0.0, *(cut for cut in cuts_s if 0 < cut < end_s), end_s]
    for begin_s, stop_s in zip(edges, edges[1:], strict=False):
        inside = range(bisect_left(starts, begin_s - TOUCHES_S), bisect_right(starts, stop_s - span_s + TOUCHES_S))
        if stop_s == end_s and inside.start < count:
            inside = range(inside.start, count)  # the last window may be padded past the end
        if not inside:
            wanted = (begin_s + stop_s - span_s) / 2
            after = min(bisect_left(starts, wanted), count - 1)
            near = min((after, max(0, after - 1)), key=lambda index: abs(starts[index] - wanted))
            inside = range(near, near + 1)
        yield begin_s, stop_s, inside


def _steady(scores: NDArray[np.float32], change: float) -> list[int]:
    """The labels (windows,) of `scores` (windows, classes) whose scores have the largest sum, less `change` a change.

    Dynamic programming from the first window to the last (Viterbi, IEEE Transactions on Information Theory 13, 1967).
    """
    stay = np.arange(scores.shape[1])
    best, before = scores[0].astype(np.float64), []
    for row in scores[1:]:
        other = int(best.argmax())
        after_change = best[other] - change
        before.append(np.where(best >= after_change, stay, other))
        best = np.maximum(best, after_change) + row
    labels = [int(best.argmax())]
    for came_from in reversed(before):
        labels.append(int(came_from[labels[-1]]))
    return labels[::-1]
