"""Comparison of timelines with the truth."""

import pytest

from clipstack_client import Segment
from triton_repo.zoo.training.camera_motion.evaluate_timeline import compare
from triton_repo.zoo.training.camera_motion.timelines import Move

MOVES = [Move("pan_left", 0, 4, False), Move("still", 4, 6, True), Move("zoom_in", 6, 10, False)]


def segments(*starts: tuple[float, str]) -> list[Segment]:
    ends = [start for start, _ in starts[1:]] + [10.0]
    return [Segment(start, end, label, 1.0) for (start, label), end in zip(starts, ends, strict=True)]


def test_exact_timeline_scores_perfectly() -> None:
    score = compare(MOVES, segments((0, "pan_left"), (4, "still"), (6, "zoom_in")))
    assert (score.right_s, score.total_s, score.spurious) == (pytest.approx(10), pytest.approx(10), 0)
    assert score.distances_s == (0, 0)


def test_late_and_invented_changes_are_scored() -> None:
    score = compare(MOVES, segments((0, "pan_left"), (2, "shake"), (3, "pan_left"), (4.25, "still"), (6, "zoom_in")))
    assert score.right_s == pytest.approx(10 - 1 - 0.25)
    assert score.distances_s == pytest.approx((0.25, 0))
    assert score.spurious == 2


def test_missed_change_has_the_largest_error() -> None:
    score = compare(MOVES, segments((0, "pan_left"), (6, "zoom_in")))
    assert score.distances_s == pytest.approx((2, 0))
    assert compare(MOVES, segments((0, "pan_left"))).distances_s == (float("inf"),) * 2
