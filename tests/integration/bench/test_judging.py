"""How benchmarks are judged: medians with spread, no ratio of sides that answer differently, targets by figures."""

import json
from pathlib import Path

import pytest

from bench import report, targets
from bench.__main__ import reasons
from bench.load.ab import read
from bench.profile import in_turns
from bench.stats import LabelsDiffer, NothingMeasured, compared, ratio, same_labels, spread

SAME = [{"clip": "cat"}, {"clip": "cat"}]
REPORT = """\
Time taken for tests:   2.500 seconds
Complete requests:      20
Failed requests:        2
   (Connect: 0, Receive: 0, Length: 0, Exceptions: 2)
Non-2xx responses:      3
"""


def test_a_spread_is_the_median_with_the_smallest_and_the_largest() -> None:
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
        same_labels({"clip": "a", "film": "cat"}, {"clip": "a", "film": "dog"})


def test_results_hold_the_reason_in_the_place_of_a_refused_ratio() -> None:
    told = compared([1.0], [2.0], [{"clip": "cat"}, {"clip": "dog"}])
    assert "ratio" not in told and told["ours"]["median"] == 1.0
    assert reasons({"against": {"a": {"per_s": told, "p50_ms": told}}}) == [told["no_ratio"]]


def test_what_failed_is_told() -> None:
    assert reasons({"against": {"a": {"error": "a: it ended", "clients": {}}}, "parts": {"cores": 2}}) == [
        "a: it ended"
    ]


def test_results_hold_both_sides_and_their_ratio() -> None:
    told = compared([4.0, 6.0], [2.0, 2.0], SAME)
    assert (told["ours"]["median"], told["theirs"]["median"], told["ratio"]["median"]) == (5.0, 2.0, 2.5)


def test_sides_are_measured_in_turns() -> None:
    seen: list[str] = []

    def turn(name: str) -> int:
        seen.append(name)
        return len(seen)

    told = in_turns(3, lambda: turn("a"), lambda: turn("b"))
    assert "".join(seen) == "abbaab"
    assert told == [[1, 4, 5], [2, 3, 6]]


def test_only_good_answers_count() -> None:
    turn = read(REPORT, "Percentage served,Time in ms\n50,12.5\n99,0.257\n100,80.25\n", clients=4)
    assert (turn.per_s, turn.answered, turn.failed, turn.p50_ms, turn.p99_ms) == (6.0, 15, 5, 12.5, 80.25)


def test_the_99th_of_many_requests_is_not_the_longest() -> None:
    many = REPORT.replace("requests:      20", "requests:      200")
    assert read(many, "50,12.5\n99,80.25\n100,99.0\n", clients=4).p99_ms == 80.25


def test_few_requests_tell_no_latency() -> None:
    turn = read(REPORT, "50,12.5\n99,80.25\n", clients=11)
    assert (turn.per_s, turn.p50_ms, turn.p99_ms) == (6.0, None, None)


@pytest.mark.parametrize(
    ("results", "met"),
    [
        ({"throughput": {"best": {"flask_torch": 4.0}}}, True),
        ({"throughput": {"best": {"flask_torch": 3.9}}}, False),
        ({"throughput": {"best": {}}}, None),
        ({}, None),
    ],
)
def test_a_lower_bound(results: dict[str, object], met: bool | None) -> None:
    assert targets.judged(results)[0].met is met


@pytest.mark.parametrize(("seconds", "met"), [(10.0, True), (10.1, False)])
def test_an_upper_bound(seconds: float, met: bool) -> None:
    assert targets.judged({"start": {"ours_s": {"median": seconds}}})[-1].met is met


def test_table_of_targets_names_misses_and_gaps() -> None:
    text = targets.table(targets.judged({"memory": {"ours_each_mib": 41.0, "copies_added": 0.0}}))
    assert text.count("**missed**") == 1 and text.count("| met |") == 1
    assert text.count("not measured") == len(targets.TARGETS) - 2


def test_page_depends_on_results_alone(tmp_path: Path) -> None:
    machine = {"processor": "some processor", "cores": 2, "memory_gib": 4.0, "day": "2026-01-01"}
    row = {"p50_ms": compared([20.0, 22.0], [40.0, 40.0], SAME)}
    told = {"machine": machine, "quick": True, "about": "One client.", "films": {"3": row, "60": row}}
    (tmp_path / "length.json").write_text(json.dumps(told))
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGIN}old\n{report.END}after\n")
    made = []
    for _ in range(2):
        report.write(report.read(tmp_path), page)
        made.append((page.read_text(), (tmp_path / "performance_length.svg").read_bytes()))
    assert made[0] == made[1]
    text = made[0][0]
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| 60 | 21 (20–22) | 40 (40–40) | 0.525 (0.5–0.55) |" in text and "a quick run" in text
