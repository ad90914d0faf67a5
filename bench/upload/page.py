"""Results of `python -m bench.upload` as tables and a chart for docs/upload.md.

python -m bench.upload -o bench/results/upload.json FILE...
python -m bench.upload.page
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import pages

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE, PICTURE = (ROOT / path for path in ("bench/results/upload.json", "docs/upload.md", "docs/upload.svg"))
COLOURS = {"none": "#5b6472", "shrink": "#c8741b", "frames": "#1b7f5c", "auto": "#111111"}
NAMES = {"none": "whole file", "shrink": "--shrink", "frames": "--frames", "auto": "--shrink auto"}


def table(results: Mapping[str, Any]) -> str:
    """Return a Markdown table with the seconds of each way by file and rate, the fastest in bold."""
    head = ("file", "Mbit/s", "whole", "`--shrink`", "`--frames`", "`--shrink auto`", "its first file")
    rows = []
    for file in results["files"]:
        for mbit, runs in by_rate(file):
            best = min(run["median_s"] for run in runs.values())
            cells = [_cell(way, run, best) for way, run in runs.items()]
            rows.append([file["name"], "as it is" if mbit is None else format(mbit, "g"), *cells])
    return pages.table(head, "lrrrrrr", rows)


def answers(results: Mapping[str, Any]) -> str:
    """Return a Markdown table of each file's properties, sent bytes and differences of the answers."""
    head = ("file", "what", "whole", "`--shrink`", "`--frames`", "best label", "score, shrink", "score, frames")
    rows = []
    for file in results["files"]:
        runs = next(by_rate(file))[1]
        media = file["media"]
        what = (
            f"{media['width']}x{media['height']} {media['codec']}, {media['fps']:.4g} fps, {media['duration_s']:.3g} s"
        )
        sent = [size(media["bytes"]), *(_sent(runs[way]) for way in ("shrink", "frames"))]
        differences = [difference(file, way) for way in ("shrink", "frames")]
        rows.append([file["name"], what, *sent, runs["none"]["label"], *differences])
    return pages.table(head, "llrrrlrr", rows)


def difference(file: Mapping[str, Any], way: str) -> str:
    """Return the largest change of a score, and whether the best label changed; a dash if the file itself was sent."""
    runs = [run for run in file["runs"] if run["way"] == way]
    if all(run["sent"] == "none" for run in runs):
        return "–"
    largest = max(run["largest_difference"] for run in runs)
    return f"±{largest:.4f}" + ("" if all(run["same_label"] for run in runs) else ", other label")


def by_rate(file: Mapping[str, Any]) -> Iterator[tuple[float | None, dict[str, Mapping[str, Any]]]]:
    """Yield each rate with the runs of a file by way."""
    for mbit in dict.fromkeys(run["mbit"] for run in file["runs"]):
        yield mbit, {run["way"]: run for run in file["runs"] if run["mbit"] == mbit}


def _sent(run: Mapping[str, Any]) -> str:
    return "–" if run["sent"] == "none" else size(run["bytes"])


def size(number: int) -> str:
    """Return the bytes as kB or MB."""
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB"


def _cell(way: str, run: Mapping[str, Any], best: float) -> str:
    if way in ("shrink", "frames") and run["sent"] == "none":
        return "–"
    words = f"{run['median_s']:.2f}"
    words = f"**{words}**" if run["median_s"] <= best * 1.1 else words
    return words + (f" {'whole' if run['sent'] == 'none' else run['sent']}" if way.startswith("auto") else "")


def picture(results: Mapping[str, Any], path: Path) -> None:
    """Draw a panel for each rate, with a line for each file and a mark for each way."""
    rates = list(dict.fromkeys(run["mbit"] for file in results["files"] for run in file["runs"]))
    size = (10, 1.6 + 0.32 * len(results["files"]))
    with pages.chart(path, columns=len(rates), top=0.93, sharex=True, sharey=True, figsize=size) as (figure, panels):
        for panel, mbit in zip(panels, rates, strict=True):
            _panel(panel, results["files"], mbit)
            panel.set_title(f"{mbit:g} Mbit/s", fontsize=10)
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            panel.set_xlabel("seconds")
        panels[0].set_yticks(range(len(results["files"])), [file["name"] for file in results["files"]])
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False)


def _panel(panel: Any, files: Sequence[Mapping[str, Any]], mbit: float) -> None:
    panel.set_xscale("log")
    panel.grid(visible=False, axis="y")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    for way, colour in COLOURS.items():
        places, seconds = [], []
        for place, file in enumerate(files):
            run = dict(by_rate(file))[mbit][way]
            if way in ("none", "auto") or run["sent"] != "none":
                places.append(place)
                seconds.append(run["median_s"])
        ring = {"facecolors": "none", "edgecolors": colour, "s": 110} if way == "auto" else {"color": colour, "s": 34}
        panel.scatter(seconds, places, label=NAMES[way], linewidths=1.2, **ring)


def main() -> None:
    results = json.loads(RESULTS.read_text())
    picture(results, PICTURE)
    pages.replace_part(PAGE, pages.begin_mark("bench.upload.page"), f"{table(results)}\n{answers(results)}")


if __name__ == "__main__":
    main()
