"""Bench results as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clipstack_client.cli.output.formatting import human_bytes, plain, short_name

NAME_WIDTH = 18
WAYS = ("none", "shrink", "frames", "auto", "auto at first")
REDUCTIONS = ("shrink", "frames")


def bench_table(results: Mapping[str, Any]) -> RenderableType:
    """Return a table of the seconds by file, rate and way of sending, with sent bytes and score differences.

    The fastest way has a colour.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("file", no_wrap=True)
    table.add_column("Mbit/s", justify="right")
    for way in ("whole", *WAYS[1:-1], "at first"):
        table.add_column(way, justify="right", no_wrap=True)
    for file in results["files"]:
        for place, mbit in enumerate(dict.fromkeys(run["mbit"] for run in file["runs"])):
            runs = {run["way"]: run for run in file["runs"] if run["mbit"] == mbit}
            name = Text(short_name(plain(file["name"]), NAME_WIDTH), style="bold") if place == 0 else Text("")
            rate = "as it is" if mbit is None else f"{mbit:g}"
            table.add_row(name, rate, *_seconds(runs))
        sent = {run["way"]: human_bytes(run["bytes"]) for run in file["runs"]}
        table.add_row("", Text("sent", "dim"), *(Text(sent[name], "dim") for name in ("none", *REDUCTIONS)))
        table.add_row("", Text("answer", "dim"), "", *(agreement(file, name) for name in REDUCTIONS))
    facts = (
        f"seconds from the call to the answer, median · {results['machine']} · {results['link']}",
        "at first: auto while it does not know the rate · answer: the largest change of a score, ≠ another best label",
    )
    return Group(table, *(Text(plain(line), style="dim") for line in facts))


def _seconds(runs: Mapping[str, Mapping[str, Any]]) -> list[Text]:
    best = min(run["median_s"] for run in runs.values())
    cells = []
    for name in WAYS:
        run = runs[name]
        # A reduction that was not made has no time.
        words = "–" if name in REDUCTIONS and run["sent"] == "none" else f"{run['median_s']:.2f}"
        words += f" {'whole' if run['sent'] == 'none' else run['sent']}" if name not in ("none", *REDUCTIONS) else ""
        cells.append(Text(words, style="bold green" if run["median_s"] <= best * 1.1 and words != "–" else "default"))
    return cells


def agreement(file: Mapping[str, Any], way: str) -> Text:
    """Return the largest difference of a score, marked if the best label changed."""
    runs = [run for run in file["runs"] if run["way"] == way]
    if all(run["sent"] == "none" for run in runs):
        return Text("–", style="dim")
    same = all(run["same_label"] for run in runs)
    return Text(
        f"{'' if same else '≠ '}±{max(run['largest_difference'] for run in runs):.3f}",
        style="dim" if same else "yellow",
    )
