"""Merging of window scores into segments: pure arithmetic.

windows    |----|
             |----|
               |----|
stretches  ...| |...         the part that a window decides: half a hop to both sides of its middle
cuts             x           a stretch ends at a cut
segments   aaaaabbbbbbb      adjacent stretches with the same label
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.timeline.windows import Windows

MARGIN = 0.5  # lead that another label needs, averaged over a window's length; scores fluctuate near a change
AVERAGE_S = 0.5  # scores of single frames are averaged over the frames up to this far away
MAX_MARGIN = 1e3  # leaves hardly a change between two cuts
TOUCHES_S = 1e-6  # tolerance: a window that ends at the frame of a cut does not cross it


@dataclass(frozen=True, slots=True)
class Segment:
    """Stretch of one label: the index of the class, and its mean score over the windows that were merged."""

    start_s: float
    end_s: float
    label: int
    score: float


def merge_windows(
    scores: NDArray[np.float32], windows: Windows, end_s: float, cuts_s: Sequence[float], margin: float = MARGIN
) -> list[Segment]:
    """Return segments that fill 0 to `end_s` without gaps; none crosses a cut.

    A new label starts a segment only if it leads by `margin` on average for the length of a window, or by more for a
    shorter time (hysteresis). A window that spans a cut decides neither side. If no window lies between two cuts, the
    nearest one decides.

    A window of a single frame knows nothing of its neighbours, and its label flickers. So the scores of single frames
    are averaged over the frames within AVERAGE_S, inside a shot. Averaging halves the lead of a short label: a change
    then needs half of `margin`.

    `scores` is float32 (windows, classes), of the first of `windows`; `cuts_s` are the rising times of the cuts.
    """
    merged: list[Segment] = []
    if not len(scores):
        return merged
    change, reach = hysteresis(windows, margin)
    for rows, edges_s in shots(windows, scores, end_s, cuts_s):
        for first, end, label in runs(steady(rows, change, reach)):
            merged.append(Segment(edges_s[first], edges_s[end], label, float(rows[first:end, label].mean())))
    return merged


def change_cost(windows: Windows, margin: float) -> float:
    """Return the sum of leads over consecutive windows that a change of label needs."""
    return margin * max(1.0, windows.grid.span_s / windows.grid.hop_s)


def hysteresis(windows: Windows, margin: float) -> tuple[float, int]:
    """Return what a change of label costs in `steady`, and how many neighbouring windows are averaged there."""
    reach = math.floor(AVERAGE_S / windows.grid.hop_s + TOUCHES_S) if windows.grid.frames == 1 else 0
    return (margin * 0.5 if reach else change_cost(windows, margin)), reach


def limit_segments(maximum: int, merge: Callable[[float], list[Segment]], margin: float) -> list[Segment]:
    """Return at most `maximum` segments of `merge`: with a larger `margin`, or the longest if cuts alone make more."""
    merged = merge(margin)
    while len(merged) > maximum and margin < MAX_MARGIN:
        margin = 4 * max(margin, 0.1)
        merged = merge(margin)
    if len(merged) > maximum:
        longest = sorted(merged, key=lambda segment: segment.start_s - segment.end_s)[:maximum]
        merged = sorted(longest, key=lambda segment: (segment.start_s, segment.label))
    return merged


def shots(
    windows: Windows, scores: NDArray[np.float32], end_s: float, cuts_s: Sequence[float]
) -> Iterator[tuple[NDArray[np.float32], list[float]]]:
    """Yield for each shot between two cuts its windows' scores and edges.

    The windows are those inside the shot, or else the nearest one. Their edges are the shot's start, the times halfway
    between the middles of two windows, and the shot's end.
    """
    count = len(scores)
    starts = [windows.start_s(index) for index in range(count)]
    span_s = windows.grid.span_s
    edges = [0.0, *(cut for cut in cuts_s if 0 < cut < end_s), end_s]
    # A single frame at the time of a cut shows the next shot
    touches_s = TOUCHES_S if span_s else -TOUCHES_S
    for begin_s, stop_s in zip(edges, edges[1:], strict=False):
        inside = range(bisect_left(starts, begin_s - TOUCHES_S), bisect_right(starts, stop_s - span_s + touches_s))
        if stop_s == end_s and inside.start < count:
            inside = range(inside.start, count)  # the last window may be padded beyond the end
        if not inside:
            ideal_start_s = (begin_s + stop_s - span_s) / 2
            after = min(bisect_left(starts, ideal_start_s), count - 1)
            nearest = min((after, max(0, after - 1)), key=lambda index: abs(starts[index] - ideal_start_s))
            inside = range(nearest, nearest + 1)
        between = [(windows.middle_s(index - 1) + windows.middle_s(index)) / 2 for index in inside[1:]]
        yield scores[inside.start : inside.stop], [begin_s, *between, stop_s]


def runs(values: NDArray[np.intp] | NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and value of each run of equal values."""
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    for first, end in zip(edges, edges[1:], strict=False):
        yield first, end, int(values[first])


def steady(scores: NDArray[np.float32], change: float, reach: int) -> NDArray[np.intp]:
    """Return the label of each window that maximises the sum of scores minus `change` for each change (Viterbi, 1967).

    `scores` is (windows, classes); each row counts as the mean of the rows up to `reach` away.
    """
    best = _mean(scores, 0, reach).astype(np.float64)
    steps: list[tuple[NDArray[np.bool_], int]] = []  # one byte a score: a long film has a hundred million of them
    for index in range(1, len(scores)):
        other = int(best.argmax())
        after_change = best[other] - change
        steps.append((best >= after_change, other))
        best = np.maximum(best, after_change) + _mean(scores, index, reach)
    labels = [int(best.argmax())]
    for keeps, other in reversed(steps):
        labels.append(labels[-1] if keeps[labels[-1]] else other)
    return np.array(labels[::-1], np.intp)


def _mean(scores: NDArray[np.float32], index: int, reach: int) -> NDArray[np.float32]:
    """Return the mean of the rows up to `reach` before and after number `index`, float32 (classes,)."""
    mean: NDArray[np.float32] = scores[max(0, index - reach) : index + reach + 1].mean(axis=0)
    return mean
