from functools import partial

import numpy as np
import pytest

from app.inference.decision import Selection, decision_rule
from app.timeline.segments import limit_segments, merge_windows
from app.timeline.tracks import Extent, merge_passing
from app.timeline.windows import Grid, Windows

PLACED = Windows(Grid(frames=3, step_s=0.5, hop_s=1.0), count=10)  # spans of 1 s, middles at 0.5, 1.5, ...
Found = list[tuple[float, float, str]]


def track(levels: str) -> list[float]:
    return [int(level) / 10 for level in levels]


def merged(
    *tracks: str, kind: str = "sigmoid", cuts: tuple[float, ...] = (), margin: float = 0.5, **selection: object
) -> Found:
    """Return the segments of labels a, b, ... whose scores in tenths are `tracks`."""
    scores = np.array([track(levels) for levels in tracks], np.float32).T
    names = "abcdef"[: len(tracks)]
    rule = decision_rule(names, kind, None, Selection(**selection))  # type: ignore[arg-type]
    segments = merge_passing(scores, Extent(PLACED, 10.0, cuts), rule, margin)
    return [(round(segment.start_s, 3), round(segment.end_s, 3), names[segment.label]) for segment in segments]


def test_sigmoid_labels_have_overlapping_tracks_with_gaps() -> None:
    assert merged("0099999000", "0000999990", "0000000000") == [(2, 7, "a"), (4, 9, "b")]


def test_labels_below_their_threshold_have_no_segment() -> None:
    assert merged("1111111111", "2222222222") == []
    assert merged("4444444444", kind="softmax", min_score=0.5) == []


def test_track_lasts_from_start_to_end() -> None:
    assert merged("9999999999") == [(0, 10, "a")]
    assert merged("9990000999") == [(0, 3, "a"), (7, 10, "a")]


def test_short_dip_does_not_break_a_track() -> None:
    assert merged("9999499999") == [(0, 10, "a")]
    assert merged("9999499999", margin=0.0) == [(0, 4, "a"), (5, 10, "a")]
    assert merged("9999000999") == [(0, 4, "a"), (7, 10, "a")]


def test_tracks_end_at_cuts() -> None:
    assert merged("9999999999", "0000009999", cuts=(4.0,)) == [(0, 4, "a"), (4, 10, "a"), (6, 10, "b")]


def test_softmax_with_min_score_has_one_track_with_gaps() -> None:
    segments = merged("9993333333", "0002222999", kind="softmax", min_score=0.6)
    assert segments == [(0, 3, "a"), (7, 10, "b")]


def test_softmax_without_min_score_keeps_its_segments() -> None:
    scores = np.random.default_rng(0).dirichlet([0.3] * 4, 10).astype(np.float32)
    rule = decision_rule("abcd", "softmax", None, Selection())
    for cuts in ((), (2.5, 6.1)):
        assert merge_passing(scores, Extent(PLACED, 10.0, cuts), rule, 0.5) == merge_windows(scores, PLACED, 10.0, cuts)


def test_only_selected_labels_have_segments() -> None:
    levels = ("9999999999", "0000011111", "1111100000")
    assert merged(*levels, kind="softmax", exclude=("a",), margin=0.05) == [(0, 5, "c"), (5, 10, "b")]
    assert merged("9999999999", "9999999999", labels=("b",)) == [(0, 10, "b")]


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("seed", range(10))
def test_mean_of_a_segment_reaches_its_threshold(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    placed = Windows(Grid(8, 4 / 30, 0.25), 200)
    scores = rng.beta(0.4, 0.4, (200, 4)).repeat(1, axis=0).astype(np.float32)
    if kind == "softmax":
        scores /= scores.sum(axis=1, keepdims=True)
    thresholds = rng.uniform(0.05, 0.95, 4)
    rule = decision_rule("abcd", kind, thresholds.tolist(), Selection())
    cuts = sorted(rng.uniform(0, 50, 3))
    segments = merge_passing(scores, Extent(placed, 50.0, cuts), rule, 0.2)
    assert segments == sorted(segments, key=lambda segment: segment.start_s)
    for segment in segments:
        assert segment.score >= thresholds[segment.label] - 1e-6
        assert not any(segment.start_s + 1e-9 < cut < segment.end_s - 1e-9 for cut in cuts)
    for label in range(4):
        own = [segment for segment in segments if segment.label == label]
        assert all(one.end_s <= other.start_s for one, other in zip(own, own[1:], strict=False))


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_thresholds_at_the_ends_of_the_range(threshold: float) -> None:
    assert merged("9999999999", min_score=threshold) == ([(0, 10, "a")] if threshold == 0 else [])


def test_longest_segments_are_kept_at_the_limit() -> None:
    scores = np.full((10, 3), 0.9, np.float32)
    rule = decision_rule("abc", "sigmoid", None, Selection())
    merge = partial(merge_passing, scores, Extent(PLACED, 10.0, (2.0, 3.0)), rule)
    segments = limit_segments(4, merge, 0.5)
    assert [(segment.start_s, segment.end_s, segment.label) for segment in segments] == [
        (0.0, 2.0, 0),
        (3.0, 10.0, 0),
        (3.0, 10.0, 1),
        (3.0, 10.0, 2),
    ]
