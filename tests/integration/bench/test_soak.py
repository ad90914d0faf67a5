"""The soak test's verdicts: growth fails, variation passes, and every wrong answer is reported."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.soak import report
from bench.soak.files import bad_files
from bench.soak.resources import ResourceSnapshot, Share
from bench.soak.slope import slope
from bench.soak.verdict import find_problems, judge, left_over, series

TIMES_S = [5.0 * number for number in range(720)]  # an hour
CHANCE = np.random.default_rng(3)
NOISE = CHANCE.normal(0, 2, len(TIMES_S))
SAW = [number % 50 / 5 for number in range(len(TIMES_S))]  # a sawtooth: processes are replaced when they have grown


@pytest.mark.parametrize("per_hour", [-30.0, 0.0, 3.0, 300.0])
def test_the_slope_is_found_in_noise(per_hour: float) -> None:
    result = slope(TIMES_S, [100 + per_hour * at_s / 3600 + noise for at_s, noise in zip(TIMES_S, NOISE, strict=True)])
    assert result.low < per_hour < result.high
    assert result.per_hour == pytest.approx(per_hour, abs=1.5)


def test_outliers_do_not_change_the_slope() -> None:
    values = [5000.0 if number % 40 == 0 else 100.0 for number in range(len(TIMES_S))]
    assert slope(TIMES_S, values).per_hour == 0.0


def test_too_few_samples_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="too few"):
        slope([0.0, 1.0], [0.0, 1.0])


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ([100.0] * 720, False),
        ([100 + noise for noise in NOISE], False),
        ([100 + tooth for tooth in SAW], False),
        ([100 + 20 * (1 - math.exp(-at_s / 400)) for at_s in TIMES_S], False),  # a cache that fills
        ([100 - at_s / 60 for at_s in TIMES_S], False),
        ([100 + at_s / 360 for at_s in TIMES_S], True),  # 10 MiB an hour
        ([100 + tooth + at_s / 180 for tooth, at_s in zip(SAW, TIMES_S, strict=True)], True),
        ([100 + at_s // 300 * 2 for at_s in TIMES_S], True),  # in steps
    ],
    ids=["flat", "noise", "saw", "filling", "falling", "growing", "growing saw", "steps"],
)
def test_growth_fails(values: list[float], grows: bool) -> None:
    (result,) = judge(TIMES_S, {"web workers: memory MiB": values}).values()
    assert result["grows"] is grows, result


def test_one_descriptor_a_minute_is_a_leak() -> None:
    (result,) = judge(TIMES_S, {"nginx: descriptors": [40 + at_s // 60 for at_s in TIMES_S]}).values()
    assert result["grows"]


def snapshots() -> list[ResourceSnapshot]:
    places = {"shared memory MiB": 160.0, "uploads": 0.0, "temporary files": 3.0}
    parts = {"nginx": Share(3, 20.0, 40, 3)}
    return [ResourceSnapshot(at_s, parts if number else {}, places) for number, at_s in enumerate(TIMES_S)]


def test_stopped_part_has_no_figures() -> None:
    measured = series(snapshots())
    assert measured["nginx: memory MiB"][:2] == [0.0, 20.0]
    assert measured["shared memory MiB"][0] == 160.0


def test_leftovers_are_reported() -> None:
    before, after = snapshots()[:2]
    assert left_over(before, after) == {}
    more = ResourceSnapshot(0.0, {}, before.places | {"uploads": 2.0})
    assert left_over(before, more) == {"uploads": [0.0, 2.0]}


def good_result(**changes: Any) -> dict[str, Any]:
    answers = {
        "sent": 100,
        "good": {"200": 90},
        "bad": {"415 unsupported_media": 5, "422 undecodable": 5},
        "p50_ms": 20.0,
        "p99_ms": 90.0,
        "jobs": {"done": 3},
    }
    measured = series(snapshots())
    result = {
        "machine": {"day": "2026-01-01", "cores": 2, "processor": "CPU"},
        "minutes": 60.0,
        "per_s": 9.0,
        "share": 0.6,
        "bad_files": {"text": "415 unsupported_media"},
        "answers": answers | changes,
        "left_over": {},
        "slopes": judge(TIMES_S, measured),
        "times_s": TIMES_S,
        "series": measured,
    }
    return result | {"complaints": find_problems(result)}


def test_a_good_run_has_no_complaints() -> None:
    assert good_result()["complaints"] == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"good": {"200": 89, "503 overloaded": 1}}, "1 good files: 503 overloaded"),
        ({"bad": {"500 internal": 2}}, "2 bad files: 500 internal"),
        ({"jobs": {"done": 2, "failed": 1}}, "1 jobs: failed"),
    ],
)
def test_a_wrong_answer_is_a_complaint(changes: dict[str, Any], word: str) -> None:
    assert good_result(**changes)["complaints"] == [word]


def test_page_and_picture_show_the_complaint(tmp_path: Path) -> None:
    result = good_result()
    report.picture(result, tmp_path / "soak.svg")
    assert "<svg" in (tmp_path / "soak.svg").read_text()[:500]
    lines = report.lines(result)
    assert "Verdict: pass." in lines[0]
    assert any(line.startswith("| nginx: memory MiB | 20 | 0 |") for line in lines)


def test_bad_files_are_many_and_small() -> None:
    files = bad_files()
    assert len(files) >= 9
    assert all(0 < len(content) < 5 << 20 for content in files.values())
