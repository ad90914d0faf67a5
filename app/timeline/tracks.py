"""Segments of what passes a request's thresholds: with gaps, and with overlaps if labels are independent.

softmax    aaaaa   bbbbb     the label that `segments` finds, where it passes
sigmoid    aaaaaaaaa         one track for each label, where it passes
               bbbbbbbb
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.inference.decision import DecisionRule
from app.timeline.segments import Segment, change_cost, hysteresis, merge_windows, runs, shots, steady
from app.timeline.windows import Windows

LEAST_SCALE = 0.02  # of a lead over thresholds near 0 or 1

Leads = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Extent:
    """The windows of a timeline, the end of its last segment in seconds, and its cuts, rising, in seconds."""

    windows: Windows
    end_s: float
    cuts_s: Sequence[float]


class _Costs(NamedTuple):
    """Costs of a change in a path: of one label's state, or of the best label, whose scores average `reach` windows."""

    state: float
    label: float
    reach: int


def merge_passing(scores: NDArray[np.float32], extent: Extent, rule: DecisionRule, margin: float) -> list[Segment]:
    """Return the segments of the labels that pass, by their start; none crosses a cut.

    Without thresholds the best of the selected labels passes, and segments fill the video (`merge_windows`). Else a
    segment starts or ends only if its label is above or below its threshold by `margin` on average for the length of a
    window, or by more for a shorter time. The distance to a threshold t counts in parts of the smaller of t and 1 - t,
    so that at 0.5 it equals the lead of "true" over "false". A segment's mean score is at least its threshold.
    `scores` is float32 (windows, classes), of the first windows of `extent`.
    """
    place = (extent.windows, extent.end_s, extent.cuts_s)
    if rule.thresholds is None:
        selected = scores if len(rule.indices) == scores.shape[1] else scores[:, rule.indices]  # no needless copy
        merged = merge_windows(selected, *place, margin)
        return [replace(segment, label=int(rule.indices[segment.label])) for segment in merged]
    costs = _Costs(change_cost(extent.windows, margin), *hysteresis(extent.windows, margin))
    merged = []
    tracks = _tracks if rule.is_independent else _single_track
    for rows, edges_s in shots(extent.windows, scores, extent.end_s, extent.cuts_s):
        for label, first, end in tracks(rows, rule, rule.thresholds, costs):
            mean = float(rows[first:end, label].mean())
            merged.append(Segment(edges_s[first], edges_s[end], label, mean))
    return sorted(merged, key=lambda segment: (segment.start_s, segment.label))


def _tracks(
    rows: NDArray[np.float32], rule: DecisionRule, thresholds: NDArray[np.float64], costs: _Costs
) -> Iterator[tuple[int, int, int]]:
    """Yield label, first window and end of each stretch in which a label passes, label by label."""
    candidates = rule.indices[(rows >= thresholds)[:, rule.indices].any(axis=0)]
    states = _steady_states(_leads(rows[:, candidates], thresholds[candidates]), costs.state)
    for label, column in zip(candidates.tolist(), states.T, strict=True):
        yield from ((label, first, end) for first, end, is_on in runs(column) if is_on)


def _single_track(
    rows: NDArray[np.float32], rule: DecisionRule, thresholds: NDArray[np.float64], costs: _Costs
) -> Iterator[tuple[int, int, int]]:
    """Yield label, first window and end of each stretch in which the label of a softmax passes."""
    labels = rule.indices[steady(rows[:, rule.indices], costs.label, costs.reach)]
    for first, end, label in runs(labels):
        leads = _leads(rows[first:end, label, None], thresholds[[label]])
        for begin, stop, is_on in runs(_steady_states(leads, costs.state)[:, 0]):
            if is_on:
                yield label, first + begin, first + stop


def _leads(scores: NDArray[np.float32], thresholds: NDArray[np.float64]) -> Leads:
    """Return how far scores (n, labels) are above their thresholds (labels,), float64 (n, labels)."""
    scale = np.maximum(np.minimum(thresholds, 1 - thresholds), LEAST_SCALE)
    leads: Leads = (scores - thresholds) / scale
    return leads


def _steady_states(leads: Leads, change: float) -> NDArray[np.bool_]:
    """Return states, bool (n, labels), that maximise the leads where on, minus `change` for each change (Viterbi)."""
    states = np.empty(leads.shape, np.bool_)
    switch_on, switch_off = np.empty_like(states), np.empty_like(states)
    on, off = leads[0], np.zeros(leads.shape[1])
    for index in range(1, len(leads)):
        switch_on[index], switch_off[index] = off - change > on, on - change > off
        on, off = np.maximum(on, off - change) + leads[index], np.maximum(off, on - change)
    states[-1] = on >= off
    for index in range(len(leads) - 1, 0, -1):
        states[index - 1] = states[index] ^ np.where(states[index], switch_on[index], switch_off[index])
    return states
