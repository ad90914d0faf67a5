"""Statistics of comparisons: medians with spread, and no ratio of sides that answer differently."""

import pytest

from bench.profile import in_turns
from bench.stats import LabelsDiffer, NothingMeasured, compare, ratio, reasons, require_same_labels, spread

SAME = [{"clip": "cat"}, {"clip": "cat"}]


def test_spread_is_median_with_smallest_and_largest() -> None:
    assert spread([3.0, None, 1.0, 8.0]) == (3.0, 1.0, 8.0, 3)


def test_no_figures_have_no_spread() -> None:
    with pytest.raises(NothingMeasured):
        spread([None])


def test_ratios_are_taken_turn_by_turn() -> None:
    assert ratio([10.0, 40.0, 9.0], [5.0, 10.0, 9.0], SAME) == (2.0, 1.0, 4.0, 3)


def test_a_turn_without_one_figure_gives_no_ratio() -> None:
    assert ratio([10.0, None, 3.0], [5.0, 1.0, 0.0], SAME) == (2.0, 2.0, 2.0, 1)


@pytest.mark.parametrize(
    "labels",
    [
        [{"clip": "cat"}, {"clip": "dog"}],
        [{"clip": "cat"}, {"film": "cat"}],
        [{"clip": "cat", "film": "dog"}, {"clip": "cat"}],
        [{}, {}],
        [{"clip": "cat"}],
    ],
    ids=["other label", "other clip", "one clip less", "nothing said", "one side"],
)
def test_no_ratio_between_sides_that_answer_differently(labels: list[dict[str, str]]) -> None:
    with pytest.raises(LabelsDiffer):
        ratio([1.0], [1.0], labels)


def test_the_refusal_names_the_clip_and_both_labels() -> None:
    with pytest.raises(LabelsDiffer, match="film: 'cat' and 'dog'"):
        require_same_labels({"clip": "a", "film": "cat"}, {"clip": "a", "film": "dog"})


def test_results_hold_reason_in_place_of_refused_ratio() -> None:
    row = compare([1.0], [2.0], [{"clip": "cat"}, {"clip": "dog"}])
    assert "ratio" not in row and row["ours"]["median"] == 1.0
    assert reasons({"against": {"a": {"per_s": row, "p50_ms": row}}}) == [row["no_ratio"]]


def test_failed_side_is_listed() -> None:
    assert reasons({"against": {"a": {"error": "a: it ended", "clients": {}}}, "parts": {"cores": 2}}) == [
        "a: it ended"
    ]


def test_results_hold_both_sides_and_their_ratio() -> None:
    row = compare([4.0, 6.0], [2.0, 2.0], SAME)
    assert (row["ours"]["median"], row["theirs"]["median"], row["ratio"]["median"]) == (5.0, 2.0, 2.5)


def test_sides_are_measured_in_turns() -> None:
    seen: list[str] = []

    def turn(name: str) -> int:
        seen.append(name)
        return len(seen)

    row = in_turns(3, lambda: turn("a"), lambda: turn("b"))
    assert "".join(seen) == "abbaab"
    assert row == [[1, 4, 5], [2, 3, 6]]
