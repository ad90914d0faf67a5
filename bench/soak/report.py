"""Results of bench/soak/__main__.py as a section of docs/reliability.md and a chart.

python -m bench.soak.report       (`make soak` runs it too)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import pages

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE, PICTURE = (ROOT / path for path in ("bench/results/soak.json", "docs/reliability.md", "docs/soak.svg"))
SHOWN = "Memory, descriptors, threads and files over the time"
BEGIN, END = "<!-- written by `make soak`: begin -->", "<!-- written by `make soak`: end -->"
MARKS = 240  # largest number of points of a line: screens show no more
PANELS = {"memory MiB": "memory (RSS), MiB", "descriptors": "descriptors", "threads": "threads", "": "files and MiB"}
COLOURS = {
    "nginx": "#1b7f5c", "gunicorn": "#8a94a3", "web workers": "#2563b0", "decoders": "#c8741b",
    "decoders' server": "#e3b27f", "job worker": "#7a3fa0", "job decoders": "#b48ad0", "triton": "#111111",
    "model processes": "#b3261e", "supervisord": "#5b6472", "watchdog": "#1f9aa6",
}  # fmt: skip


def lines(result: Mapping[str, Any]) -> list[str]:
    """Return the section as Markdown lines."""
    machine, answers = result["machine"], result["answers"]
    jobs = sum(answers["jobs"].values())
    times = f"p50 {answers['p50_ms']:g} ms, p99 {answers['p99_ms']:g} ms"
    verdict = "pass" if not result["complaints"] else "**fail**: " + "; ".join(result["complaints"])
    return [
        f"{result['minutes']:g} minutes on {machine['day']}, {machine['cores']} cores of {machine['processor']}: "
        f"{result['per_s']:g} requests/s ({result['share']:g} of the capacity), {answers['sent']} in all, a tenth of them "
        f"one of {len(result['bad_files'])} bad files; {jobs} jobs beside them. "
        f"Good files: {_counted(answers['good'])}; bad ones: {_counted(answers['bad'])}; "
        f"jobs: {_counted(answers['jobs'])}. {times}. Verdict: {verdict}.",
        "",
        "| | at the end | grew by an hour | surely between | allowed |",
        "|---|--:|--:|--:|--:|",
        *(
            _row(name, result["series"][name][-1], slope)
            for name, slope in result["slopes"].items()
            if _shown(name, slope)
        ),
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count}x {word}" for word, count in sorted(counts.items())) or "none"


def _shown(name: str, slope: Mapping[str, Any]) -> bool:
    """Return whether the series has a row: memory and places always, others if they changed."""
    flat = not (slope["per_hour"] or slope["low"] or slope["high"])
    return not flat or ": " not in name or name.endswith(": memory MiB")


def _row(name: str, last: float, slope: Mapping[str, Any]) -> str:
    grown = f"**{slope['per_hour']:g}**" if slope["grows"] else f"{slope['per_hour']:g}"
    return f"| {name} | {last:g} | {grown} | {slope['low']:g} and {slope['high']:g} | {slope['limit']:g} |"


def picture(result: Mapping[str, Any], path: Path) -> None:
    """Draw charts of memory, descriptors, threads and files over time; the half that is not judged is grey."""
    minutes = [at_s / 60 for at_s in result["times_s"]]
    with pages.chart(path, len(PANELS), sharex=True, figsize=(10, 11)) as (_, panels):
        for panel, (word, title) in zip(panels, PANELS.items(), strict=True):
            _panel(panel, result["series"], minutes, word)
            panel.set_ylabel(title)
            panel.axvspan(0, (minutes[0] + minutes[-1]) / 2, color="#f1f3f5", zorder=0)
        panels[-1].set_xlabel("minutes (grey: warming up, not judged)")
        panels[-1].set_xlim(0, minutes[-1])


def _panel(panel: Any, series: Mapping[str, list[float]], minutes: list[float], word: str) -> None:
    step = -(-len(minutes) // MARKS)
    for name, values in series.items():
        part, _, what = name.rpartition(": ")
        if (what == word) if word else not part:
            panel.plot(minutes[::step], values[::step], label=part or name, color=COLOURS.get(part), linewidth=1.1)
    panel.set_ylim(bottom=0)
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def write(result: Mapping[str, Any]) -> None:
    """Write the chart and the page's generated section."""
    picture(result, PICTURE)
    pages.replace_part(PAGE, BEGIN, "\n".join(["", *lines(result), "", f"![{SHOWN}]({PICTURE.name})", ""]), END)


if __name__ == "__main__":
    write(json.loads(RESULTS.read_text()))
