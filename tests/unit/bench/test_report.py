"""Targets are judged by the results alone, and the page is made from them."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import pages, report, targets
from bench.report import charts
from bench.stats import compare

SAME = [{"clip": "cat"}, {"clip": "cat"}]
MACHINE = {"processor": "some processor", "cores": 2, "memory_gib": 4.0, "day": "2026-01-01"}


def against_flask(ratio: float) -> dict[str, Any]:
    rows = {clients: {"per_s": compare([2 * ratio], [2.0], SAME)} for clients in ("4", "16")}
    return {"throughput": {"against": {"flask_torch": {"clients": rows}}}}


def verdicts(results: dict[str, Any], words: str, peer: str = "") -> list[targets.Verdict]:
    chosen = [one for one in targets.judge(results) if one.target.words.startswith(words) and one.target.peer == peer]
    assert chosen
    return chosen


@pytest.mark.parametrize(("ratio", "met"), [(4.5, True), (4.4, False)])
def test_a_lower_bound_of_a_ratio(ratio: float, met: bool) -> None:
    rows = verdicts(against_flask(ratio), "clips/s", targets.FLASK)
    assert [(one.met, one.ours, one.theirs) for one in rows] == [(met, 2 * ratio, 2.0)] * 2


def test_a_refused_ratio_is_not_measured() -> None:
    results = against_flask(9.0)
    results["throughput"]["against"]["flask_torch"]["clients"]["4"]["per_s"] = compare([9.0], [1.0], [{"a": "b"}, {}])
    assert [one.met for one in verdicts(results, "clips/s", targets.FLASK)] == [None, True]


@pytest.mark.parametrize(("seconds", "met"), [(10.0, True), (10.1, False)])
def test_an_upper_bound_of_a_number(seconds: float, met: bool) -> None:
    (verdict,) = verdicts({"startup": {"ready_s": {"median": seconds}}}, "`make up`")
    assert verdict.met is met


def test_summary_lists_missed_and_unmeasured_targets() -> None:
    text = targets.table(targets.judge({"memory": {"ours_each_mib": 41.0, "copies_added": 0.0}}))
    assert text.count("**missed**") == 1 and text.count("| met |") == 1
    assert text.count("not measured") == len(targets.TARGETS) - 2


def test_page_depends_only_on_the_results(tmp_path: Path) -> None:
    row = {"offered": 2.0, "goodput_of_capacity": 0.9, "admitted": {"p50_ms": 20.0, "p99_ms": 41.0}}
    figures = {
        "machine": MACHINE,
        "quick": True,
        "about": "Default settings.",
        "rows": [row | {"refused": {"p99_ms": 5.0}}],
    }
    (tmp_path / "load_curve.json").write_text(json.dumps(figures))
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGIN}outdated\n{pages.END}after\n")
    written = []
    for _ in range(2):
        report.write(report.read(tmp_path), page)
        written.append(page.read_text())
    text = written[0]
    assert written[1] == text
    assert text.startswith("before\n") and text.endswith("after\n") and "outdated" not in text
    assert "| 2 | 0.90 | 20 | 41 | 5 |" in text and "a quick run" in text


def test_a_comparison_shows_both_precisions(tmp_path: Path) -> None:
    figures = {name: compare([8.0], [4.0], SAME) for name in ("per_s", "p50_ms", "p99_ms")}
    cost = {"web": 4.0, "all": 200.0}
    row = figures | {"failed": {"ours": 0, "theirs": 1}, "cpu_ms": {"ours": cost, "theirs": cost}}
    name = "litserve_openvino"
    throughput = {
        "machine": MACHINE,
        "quick": False,
        "clips": {"small": "a film"},
        "against": {
            name: {"precision": {"ours": "bf16", "theirs": "bf16"}, "clients": {"4": row}},
            f"{name}_f32": {"precision": {"ours": "f32", "theirs": "f32"}, "clients": {"4": row}},
        },
        "stages": {"small": {"decode": {"median": 50.0}}},
        "parts": {
            "cores": 2,
            "clients": 16,
            "decode_core_s": {"median": 0.08},
            "infer_core_s": {"median": 0.1},
            "per_s": figures["per_s"],
        },
    }
    (tmp_path / "throughput.json").write_text(json.dumps(throughput))
    text = report.body(report.read(tmp_path))
    charts.write("throughput", throughput, tmp_path / "chart.svg")
    assert "<svg" in (tmp_path / "chart.svg").read_text()[:500]
    assert "| (e) LitServe, OpenVINO | bf16 / bf16 | 4 | 8 (8–8) | 4 (4–4) | 2 (2–2) |" in text
    assert "| (e) LitServe, OpenVINO, both in f32 | f32 / f32 | 4 |" in text
    assert "| web | 4.0 |" in text and "1 of its own" in text
