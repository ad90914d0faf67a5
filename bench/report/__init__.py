"""docs/performance.md and its charts, made from the files of results: python -m bench.report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import pages, targets
from bench.report import charts
from bench.report.sections import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "performance.md"
BEGIN = pages.begin_mark("bench.report")


def read(results: Path = RESULTS) -> dict[str, Any]:
    """Return the figures of every suite by its name; suites without results are absent."""
    files = {name: results / f"{name}.json" for name in SECTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def summary(results: Mapping[str, Any]) -> str:
    """Return the table of all targets, with the processor and the precisions of its figures."""
    notes = {origin(figures) for figures in results.values()}
    if throughput := results.get("throughput"):
        used = throughput["against"].get("litserve_openvino", {}).get("precision", {})
        notes.add(
            f"By default Clipstack calculated in {used.get('ours')}, LitServe with OpenVINO in {used.get('theirs')}."
        )
    return f"{targets.table(targets.judge(results))}\n{' '.join(sorted(notes))}\n"


def origin(figures: Mapping[str, Any]) -> str:
    """Return the sentence about the machine and the day of one suite."""
    machine = figures["machine"]
    quick = ", a quick run" if figures["quick"] else ""
    return f"{machine['processor']}, {machine['cores']} cores, {machine['day']}{quick}."


def body(results: Mapping[str, Any]) -> str:
    """Return the text between the marks."""
    parts = [f"## Summary\n\n{summary(results)}"]
    for name, (title, section) in SECTIONS.items():
        if name in results:
            chart = f"![{title}](performance_{name}.svg)\n\n" if name in charts.CHARTS else ""
            parts.append(f"## {title}\n\n{origin(results[name])}\n\n{chart}{section(results[name])}")
    return "\n".join(parts)


def write(results: Mapping[str, Any], page: Path = PAGE) -> None:
    """Write the page's generated part and its charts."""
    for name in charts.CHARTS:
        if name in results:
            charts.write(name, results[name], page.with_name(f"performance_{name}.svg"))
    pages.replace_part(page, BEGIN, body(results))


__all__ = ["BEGIN", "PAGE", "RESULTS", "read", "summary", "write"]
