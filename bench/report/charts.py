"""Charts of docs/performance.md as SVG; equal figures give equal bytes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import pages
from bench.stats import spread

Figures = Mapping[str, Any]
LINES = {  # of the throughput chart: the baseline, its name and colour
    "litserve_openvino": ("LitServe, OpenVINO", "#c8741b"),
    "flask_torch": ("Flask + gunicorn, torch", "#5b6472"),
}
OUR_COLOUR, LIMIT_COLOUR = "#1b7f5c", "#111111"


def write(name: str, figures: Figures, path: Path) -> None:
    """Write the chart of one suite."""
    draw, labels = CHARTS[name]
    with pages.chart(path, figsize=(7, 3.2)) as (_, panel):
        panel.set_xlabel(labels[0])
        panel.set_ylabel(labels[1])
        draw(panel, figures)
        panel.set_ylim(0, None)
        panel.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _line(panel: Any, label: str, colour: str, points: Sequence[tuple[int, Figures]]) -> None:
    """Draw the medians as a line, with their spreads as bars."""
    middle = [figure["median"] for _, figure in points]
    bars = [[f["median"] - f["least"] for _, f in points], [f["most"] - f["median"] for _, f in points]]
    style = {"color": colour, "marker": "o", "capsize": 3, "linewidth": 1.4}
    panel.errorbar([clients for clients, _ in points], middle, bars, label=label, **style)


def _throughput(panel: Any, figures: Figures) -> None:
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ours: dict[int, list[float]] = {}
    for name, (label, colour) in LINES.items():
        rows = figures["against"].get(name, {"clients": {}})["clients"]
        measured = {int(clients): row["per_s"] for clients, row in rows.items() if "per_s" in row}
        for clients, row in measured.items():
            ours.setdefault(clients, []).append(row["ours"]["median"])
        if measured:
            _line(panel, label, colour, [(clients, row["theirs"]) for clients, row in measured.items()])
    # Our line covers all pairs: the median of their medians, with the smallest and the largest
    points = [(clients, spread(medians).as_dict()) for clients, medians in sorted(ours.items())]
    _line(panel, "Clipstack", OUR_COLOUR, points)
    limit = figures["parts"]["per_s"]["theirs"]["median"]
    panel.axhline(limit, color=LIMIT_COLOUR, linewidth=1, linestyle="--", label="the parts' own limit")


CHARTS: dict[str, tuple[Callable[[Any, Figures], None], tuple[str, str]]] = {
    "throughput": (_throughput, ("clients", "clips a second")),
}
