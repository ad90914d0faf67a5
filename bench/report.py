"""docs/performance.md and its figures, made from the files of results.

python -m bench.report
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench import targets
from bench.fixtures.servers import KEYFRAME
from bench.stats import spread

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- made by python -m bench.report -->\n", "<!-- to here -->\n"
NAMES = {
    "clipstack": "Clipstack",
    "flask_torch": "(a) Flask + gunicorn, torch",
    "aiohttp_torch": "(b) aiohttp + gunicorn, torch",
    "flask_torch_preload": "(c) as (a), preloaded and frozen",
    "flask_triton": "(d) Flask, Triton over HTTP, float32 inline",
    "litserve_openvino": "(e) LitServe, OpenVINO",
    KEYFRAME: "(e) again, ours with `sampling=keyframe`",
    "litserve_torch": "(f) LitServe, torch",
}
COLOURS = {"clipstack": "#1b7f5c", "flask_torch": "#5b6472", "litserve_openvino": "#c8741b"}
Told = Mapping[str, Any]
QUESTIONS = ("throughput", "latency", "transport", "handoff", "memory", "load_curve", "start", "pictures", "length")


def read(results: Path = RESULTS) -> dict[str, Any]:
    """Return the figures of every suite by its name; suites without results are absent."""
    files = {name: results / f"{name}.json" for name in QUESTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def spread_cell(told: Told | None, digits: int = 3) -> str:
    """Return `12.3 (11.9–12.8)`, or a dash without figures."""
    if not told:
        return "–"
    return f"{told['median']:.{digits}g} ({told['least']:.{digits}g}–{told['most']:.{digits}g})"


def grid(head: tuple[str, ...], rows: list[list[str]]) -> str:
    """Return a Markdown table: text in the first column, numbers in the others."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


def throughput(told: Told) -> str:
    """Return the section about clips per second."""
    rows = []
    for name, against in told["against"].items():
        for clients, row in against["clients"].items():
            if "left_out" in row:
                rows.append([NAMES[name], clients, row["left_out"], *["–"] * 4])
                continue
            figures = row["per_s"]
            ratio = spread_cell(figures.get("ratio")) if "ratio" in figures else figures["no_ratio"]
            waits = [f"{cell(row[kind], side)}" for kind in ("p50_ms", "p99_ms") for side in ("ours", "theirs")]
            rows.append(
                [NAMES[name], clients, spread_cell(figures["ours"]), spread_cell(figures["theirs"]), ratio]
                + [f"{waits[0]} / {waits[1]}", f"{waits[2]} / {waits[3]}"]
            )
    head = ("against", "clients", "ours, clips/s", "theirs, clips/s", "ratio", "p50 ms, ours / theirs", "p99 ms")
    parts = told["parts"]
    of_limit = parts["ours_of_limit"]
    limit = (
        f"\nDecoding one clip takes {parts['decode_core_s']['median'] * 1e3:.1f} ms of one core and inference "
        f"{parts['infer_core_s']['median'] * 1e3:.1f} ms: {parts['cores']} cores could do "
        f"{parts['limit_per_s']['median']:.1f} clips a second if nothing else cost anything. In turns with that, "
        f"Clipstack did {parts['ours_per_s']['median']:.1f} with {parts['clients']} clients: {of_limit['median']:.0%} "
        f"({of_limit['least']:.0%}–{of_limit['most']:.0%}), with the load generator on the same cores.\n"
    )
    return f"What is sent: {told['clip']}.\n\n" + grid(head, rows) + limit + unanswered(told)


def unanswered(told: Told) -> str:
    """Return the sentence about requests without status 200, which do not count as answers."""
    failed = {
        f"{NAMES[name]} at {clients} clients: {count} of {NAMES['clipstack'] if side == 'ours' else 'its own'}"
        for name, against in told["against"].items()
        for clients, row in against["clients"].items()
        for side, count in row.get("failed", {}).items()
        if count
    }
    return f"\nNot answered, and not counted: {'; '.join(sorted(failed))}.\n" if failed else ""


def cell(figure: Told, side: str) -> str:
    """Return the median of one side, or a dash."""
    return f"{figure[side]['median']:.0f}" if figure.get(side) else "–"


def latency(told: Told) -> str:
    """Return the section about a single client."""
    rows = [
        [NAMES[name], which, *(spread_cell(row["p50_ms"][side]) for side in ("ours", "theirs")),
         spread_cell(row["p50_ms"].get("ratio"))]
        for name, by_clip in told["against"].items()
        for which, row in by_clip.items() if "p50_ms" in row
    ]  # fmt: skip
    names = list(next(iter(told["stages"].values())))
    stage_rows = [
        [which, *(f"{by_clip[name]['median']:.1f}" for name in names)] for which, by_clip in told["stages"].items()
    ]
    clips = "".join(
        f"- {which}: {words}, {told['bytes'][which] / 1e6:.1f} MB\n" for which, words in told["clips"].items()
    )
    head = ("against", "clip", "ours, ms", "theirs, ms", "ratio")
    return (
        f"{clips}\n{grid(head, rows)}\nWhere each millisecond goes (medians):\n\n{grid(('clip', *names), stage_rows)}"
    )


def transport(told: Told) -> str:
    """Return the section about the ways to Triton."""
    ways = [way for way in ("shm_ms", "inline_ms", "http_ms") if way in next(iter(told["sizes"].values()))]
    rows = [
        [size, *(spread_cell(row[way]) for way in ways), spread_cell(row["inline_over_shm"])]
        for size, row in told["sizes"].items()
    ]
    names = {"shm_ms": "shared memory, ms", "inline_ms": "inline gRPC, ms", "http_ms": "HTTP, ms"}
    head = ("MB", *(names[way] for way in ways), "inline over shared")
    alone = f"By shared memory alone, one 2.4 MB clip after the other: {spread_cell(told['overhead_ms'])} ms."
    return f"{told['about']}\n\n{grid(head, rows)}\n{alone}\n"


def handoff(told: Told) -> str:
    """Return the section about uploads."""
    rows = [
        [
            size,
            spread_cell(row["seconds"]["theirs"]),
            *(spread_cell(row[way].get(what)) for way in ("seconds", "form_seconds") for what in ("ours", "ratio")),
        ]
        for size, row in told["sizes"].items()
    ]
    head = ("MB", "form through Flask, s", "body handed on, s", "ratio", "form handed on, s", "ratio")
    return f"{told['about']}\n\n" + grid(head, rows)


def memory(told: Told) -> str:
    """Return the section about memory."""
    rows = [
        [
            NAMES[name],
            workers,
            *(f"{row[part]:.0f}" if part in row else "–" for part in ("all", "web", "decoders", "triton")),
        ]
        for name, costs in told["sides"].items()
        for workers, row in costs.items()
    ]
    head = ("service", "workers", "all, MiB", "web workers", "their decoders", "Triton")
    costs = [f"{NAMES[name]} {added:.0f} MiB" for name, added in told["theirs_each_mib"].items()]
    words = (
        f"Triton with one web worker holds {told['triton_of_weights']:g} times the weights, its own memory included: "
        "OpenVINO compiles a model twice, for a lone clip and for several. "
        f"One more web worker costs {told['ours_each_mib']:.0f} MiB, with its decoders "
        f"{told['ours_each_with_decoders_mib']:.0f} MiB; one more worker of {' and of '.join(costs)}."
    )
    return f"{told['about']}\n\n{grid(head, rows)}\n{words}\n"


def load_curve(told: Told) -> str:
    """Return the section about overload."""
    rows = [
        [
            f"{row['offered']:g}",
            f"{row['goodput_of_capacity']:.2f}",
            f"{row['admitted']['p50_ms'] or 0:.0f}",
            f"{row['admitted']['p99_ms'] or 0:.0f}",
            f"{row['refused']['p99_ms'] or 0:.0f}",
        ]
        for row in told["rows"]
    ]
    head = ("offered, of capacity", "answered in time, of capacity", "p50 ms", "p99 ms", "p99 of refusals, ms")
    return f"{told['about']}\n\n{grid(head, rows)}"


def start(told: Told) -> str:
    """Return the section about the start."""
    rows = [
        [NAMES[name], spread_cell(row["seconds"]), spread_cell(row.get("ratio"))] for name, row in told["sides"].items()
    ]
    table = f"{told['about']}\n\n{grid(('service', 'until the first answer, s', 'ours over it'), rows)}"
    if "first" not in told:
        return table
    first = told["first"]
    return (
        f"{table}\n\nOf the {first['clips']} clips right after our start the first takes "
        f"{spread_cell(first['first_over_median'])} times as long as the one in the middle, and the slowest "
        f"{spread_cell(first['slowest_over_median'])} times."
    )


def pictures(told: Told) -> str:
    """Return the section about pictures."""
    rows = [
        [
            NAMES[name],
            *(spread_cell(row["per_s"][side]) for side in ("ours", "theirs")),
            spread_cell(row["per_s"].get("ratio")),
        ]
        for name, row in told["against"].items()
        if "per_s" in row
    ]
    return f"{told['about']}\n\n" + grid(("against", "ours, pictures/s", "theirs", "ratio"), rows)


def length(told: Told) -> str:
    """Return the section about longer films."""
    rows = [
        [
            seconds,
            *(spread_cell(row["p50_ms"][side]) for side in ("ours", "theirs")),
            spread_cell(row["p50_ms"].get("ratio")),
        ]
        for seconds, row in told["films"].items()
        if "p50_ms" in row
    ]
    return f"{told['about']}\n\n" + grid(("film, s", "ours, ms", "theirs, ms", "ratio"), rows)


SECTIONS: dict[str, tuple[str, Callable[[Told], str]]] = {
    "throughput": ("Clips a second", throughput),
    "latency": ("One client", latency),
    "transport": ("To Triton and back", transport),
    "handoff": ("Uploads", handoff),
    "memory": ("Memory", memory),
    "load_curve": ("More than can be done", load_curve),
    "start": ("From nothing to the first answer", start),
    "pictures": ("Pictures", pictures),
    "length": ("Longer films", length),
}


def body(results: Told) -> str:
    """Return the text between the marks."""
    parts = [f"### Targets\n\n{targets.table(targets.judged(results))}"]
    for name, (title, made) in SECTIONS.items():
        if name in results:
            figures = results[name]
            machine = figures["machine"]
            quick = ", a quick run" if figures["quick"] else ""
            note = f"{machine['processor']}, {machine['cores']} cores, {machine['day']}{quick}."
            picture = f"![{title}](performance_{name}.svg)\n\n" if name in PICTURES else ""
            parts.append(f"### {title}\n\n{note}\n\n{picture}{made(figures)}")
    return "\n".join(parts)


def write(results: Told, page: Path = PAGE) -> None:
    """Write the page's generated part and its figures."""
    for name, (draw, label) in PICTURES.items():
        if name in results:
            picture(page.with_name(f"performance_{name}.svg"), label, partial(draw, told=results[name]))
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{body(results)}\n{END}{rest.partition(END)[2]}")


def picture(path: Path, labels: tuple[str, str], draw: Callable[[Any], None]) -> None:
    """Write a chart as SVG; equal figures give equal bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "clipstack", "font.size": 9})
    figure, panel = pyplot.subplots(figsize=(7, 3.2))
    panel.set_xlabel(labels[0])
    panel.set_ylabel(labels[1])
    panel.grid(color="#e3e6ea", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    draw(panel)
    panel.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def line(panel: Any, name: str, points: list[tuple[float, Told]]) -> None:
    """Draw the medians as a line, with their spreads as bars."""
    points = [(place, figure) for place, figure in points if figure]
    middle = [figure["median"] for _, figure in points]
    bars = [[f["median"] - f["least"] for _, f in points], [f["most"] - f["median"] for _, f in points]]
    style = {"color": COLOURS.get(name, "#8a3ffc"), "marker": "o", "capsize": 3, "linewidth": 1.4}
    panel.errorbar([place for place, _ in points], middle, bars, label=NAMES.get(name, name), **style)


def _throughput(panel: Any, told: Told) -> None:
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ours: dict[int, list[float]] = {}
    for name, comparison in told["against"].items():
        rows = {int(count): row["per_s"] for count, row in comparison["clients"].items() if "per_s" in row}
        if name == KEYFRAME:
            line(panel, name, [(count, row["ours"]) for count, row in rows.items()])
            continue
        for count, row in rows.items():
            ours.setdefault(count, []).append(row["ours"]["median"])
        if name in COLOURS:
            line(panel, name, [(count, row["theirs"]) for count, row in rows.items()])
    # Our line covers all pairs: the median of their medians, with the smallest and the largest
    line(panel, "clipstack", [(count, spread(figures).facts()) for count, figures in sorted(ours.items())])
    panel.axhline(
        told["parts"]["limit_per_s"]["median"],
        color="#111111",
        linewidth=1,
        linestyle="--",
        label="the parts' own limit",
    )
    panel.set_ylim(0, None)


def _transport(panel: Any, told: Told) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    names = {"shm_ms": "shared memory", "inline_ms": "inline gRPC", "http_ms": "HTTP"}
    colours = {"shm_ms": "#1b7f5c", "inline_ms": "#c8741b", "http_ms": "#5b6472"}
    for way, name in names.items():
        points = [(float(size), row[way]["median"]) for size, row in told["sizes"].items() if way in row]
        if points:
            panel.plot(*zip(*points, strict=True), marker="o", color=colours[way], label=name)


def _load_curve(panel: Any, told: Told) -> None:
    points = [(row["offered"], row["goodput_of_capacity"]) for row in told["rows"]]
    panel.plot(*zip(*points, strict=True), marker="o", color=COLOURS["clipstack"], label="answered in time")
    panel.axhline(1.0, color="#111111", linewidth=1, linestyle="--", label="capacity")
    panel.set_ylim(0, None)


def _length(panel: Any, told: Told) -> None:
    panel.set_xscale("log")
    for name, side in (("clipstack", "ours"), ("flask_torch", "theirs")):
        line(
            panel,
            name,
            [(float(seconds), row["p50_ms"][side]) for seconds, row in told["films"].items() if "p50_ms" in row],
        )


PICTURES: dict[str, tuple[Callable[..., None], tuple[str, str]]] = {
    "throughput": (_throughput, ("clients", "clips a second")),
    "transport": (_transport, ("MB", "ms")),
    "load_curve": (_load_curve, ("offered, times the capacity", "of the capacity")),
    "length": (_length, ("film, s", "ms")),
}


if __name__ == "__main__":
    write(read())
