"""Windows over a video, and their scores merged into segments."""

from __future__ import annotations

import csv
import io
from functools import partial

import numpy as np
import pytest

from app.timeline.export import to_csv
from app.timeline.segments import limit_segments, merge_windows
from app.timeline.windows import Grid, Windows, grid

PLACED = Windows(Grid(frames=3, step_s=0.5, hop_s=1.0), count=10)  # spans of 1 s, middles at 0.5, 1.5, ...


def scores(labels: str, sure: float = 0.8) -> np.ndarray:
    """Return a row of scores per letter, with the score `sure` for it: a, b or c."""
    rows = np.full((len(labels), 3), (1 - sure) / 2, np.float32)
    rows[range(len(labels)), ["abc".index(label) for label in labels]] = sure
    return rows


def segments_of(
    rows: np.ndarray, cuts: tuple[float, ...] = (), placed: Windows = PLACED
) -> list[tuple[float, float, str]]:
    segments = merge_windows(rows, placed, 10.0, cuts)
    return [(round(item.start_s, 3), round(item.end_s, 3), "abc"[item.label]) for item in segments]


@pytest.mark.parametrize(
    ("last_frame_s", "count"),
    [(0.0, 1), (0.96, 1), (1.0, 1), (1.4, 1), (1.5, 2), (10.0, 19)],
)
def test_as_many_windows_as_fit(last_frame_s: float, count: int) -> None:
    placed = grid(frames=3, stride=15, fps=30, window_s=None, hop_s=0.5).fit(last_frame_s)
    assert (placed.count, placed.grid.span_s) == (count, 1.0)
    assert placed.times_s()[0].tolist() == [0.0, 0.5, 1.0]
    assert len(placed.times_s(first=3)) == max(0, count - 3)


def test_defaults_come_from_the_model() -> None:
    assert grid(8, 4, 30, None, None) == Grid(8, 4 / 30, 0.25)
    assert grid(16, 5, 30, None, None).hop_s == 0.62
    assert grid(16, 5, 30, 7.5, None) == Grid(16, 0.5, 1.88)
    assert grid(1, 1, 30, None, None) == Grid(1, 0.0, 0.5)


def test_neighbours_of_one_label_are_one_segment() -> None:
    assert segments_of(scores("aaabbbbccc")) == [(0, 3, "a"), (3, 7, "b"), (7, 10, "c")]


def test_segment_s_score_is_mean_of_its_windows() -> None:
    rows = scores("aaaaaaaaaa")
    rows[:5, 0] = 0.6
    (only,) = merge_windows(rows, PLACED, 10.0, ())
    assert only.score == pytest.approx(0.7)


def test_slightly_better_label_does_not_break_a_segment() -> None:
    rows = scores("aaaaaaaaaa")
    rows[4] = (0.1, 0.8, 0.1)
    assert segments_of(rows) == [(0, 10, "a")]
    rows[4:6] = (0.2, 0.75, 0.05)
    assert segments_of(rows) == [(0, 4, "a"), (4, 6, "b"), (6, 10, "a")]
    rows[4:6] = (0.3, 0.65, 0.05)
    assert segments_of(rows) == [(0, 10, "a")]


STILLS = Windows(Grid(frames=1, step_s=0.0, hop_s=0.5), count=20)


def still_labels(letters: str, cuts: tuple[float, ...] = (), sure: float = 0.8, margin: float = 0.5) -> str:
    """Return the label of each half second, for frames with these best labels."""
    segments = merge_windows(scores(letters, sure), STILLS, len(letters) / 2, cuts, margin)
    return "".join("abc"[segment.label] * round(2 * (segment.end_s - segment.start_s)) for segment in segments)


@pytest.mark.parametrize("frames", ["aaaabaaaaa", "aabaaacaaa", "aaaaaaaaab"])
def test_single_frames_are_averaged_with_their_neighbours(frames: str) -> None:
    assert still_labels(frames, margin=0.0) == "aaaaaaaaaa"


def test_a_label_of_two_frames_is_a_segment() -> None:
    assert still_labels("aaaabbaaaa", sure=0.9) == "aaaabbaaaa"


def test_averages_do_not_cross_a_cut() -> None:
    assert still_labels("aaaaabbbbb", cuts=(2.5,)) == "aaaaabbbbb"
    assert still_labels("aaaabaaaaa", cuts=(2.0, 2.5)) == "aaaabaaaaa"


def test_frames_far_apart_are_not_averaged() -> None:
    sparse = Windows(Grid(frames=1, step_s=0.0, hop_s=2.0), count=5)
    segments = merge_windows(scores("aabaa"), sparse, 10.0, (), margin=0.0)
    assert ["abc"[segment.label] for segment in segments] == ["a", "b", "a"]


def test_averaged_score_is_the_mean() -> None:
    (only,) = merge_windows(scores("aaab", sure=0.7), STILLS, 2.0, ())
    assert only.score == pytest.approx((3 * 0.7 + 0.15) / 4)


@pytest.mark.parametrize("most", [1, 2, 5, 9, 10])
def test_too_many_segments_are_merged(most: int) -> None:
    rows = scores("ababababab")
    merged = limit_segments(most, partial(merge_windows, rows, PLACED, 10.0, ()), 0.0)
    assert len(merged) <= most and (merged[0].start_s, merged[-1].end_s) == (0.0, 10.0)


def test_zero_margin_follows_every_window() -> None:
    segments = merge_windows(scores("abacbbabca", sure=0.4), PLACED, 10.0, (), margin=0.0)
    assert "".join("abc"[item.label] * round(item.end_s - item.start_s) for item in segments) == "abacbbabca"


def test_segments_end_at_cuts() -> None:
    # The window from 4 to 5 contains the cut at 4.3, and has a label of neither side.
    assert segments_of(scores("aaaacbbbbb"), cuts=(4.3,)) == [(0, 4.3, "a"), (4.3, 10, "b")]
    assert segments_of(scores("aaaaaaaaaa"), cuts=(4.3,)) == [(0, 4.3, "a"), (4.3, 10, "a")]


def test_shot_shorter_than_a_window_uses_the_nearest_window() -> None:
    assert segments_of(scores("aaaabbbbbb"), cuts=(4.2, 4.6)) == [(0, 4.2, "a"), (4.2, 4.6, "b"), (4.6, 10, "b")]


@pytest.mark.parametrize("seed", range(20))
def test_segments_always_fill_the_video(seed: int) -> None:
    rng = np.random.default_rng(seed)
    placed = grid(8, 4, 30, None, float(rng.uniform(0.1, 2))).fit(37.0)
    rows = rng.dirichlet([0.3] * 4, placed.count).astype(np.float32)
    cuts = sorted(rng.uniform(0, 37, rng.integers(0, 6)))
    segments = merge_windows(rows, placed, 37.0, cuts)
    assert (segments[0].start_s, segments[-1].end_s) == (0.0, 37.0)
    assert all(one.end_s == other.start_s for one, other in zip(segments, segments[1:], strict=False))
    assert all(item.end_s > item.start_s for item in segments)
    for cut in cuts:
        assert any(item.start_s == cut for item in segments)


@pytest.mark.parametrize(("label", "cell"), [("=1+1", "'=1+1"), ("-1", "'-1"), ("a=b", "a=b"), ("\t=1", "'\t=1")])
def test_csv_escapes_formulas_in_labels(label: str, cell: str) -> None:
    segment = {"start_s": 0.0, "end_s": 1.5, "label": label, "score": 0.25}
    rows = list(csv.reader(io.StringIO(to_csv({"segments": [segment]}), newline="")))
    assert rows[1] == ["0.000", "1.500", cell, "0.2500"]
