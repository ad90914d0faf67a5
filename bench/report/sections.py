"""Sections of docs/performance.md: one function for each suite, from its figures to Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.pages import table
from bench.stats import short_number

Figures = Mapping[str, Any]
NAMES = {
    "clipstack": "Clipstack",
    "flask_torch": "(a) Flask + gunicorn, torch",
    "aiohttp_torch": "(b) aiohttp + gunicorn, torch",
    "flask_torch_preload": "(c) as (a), preloaded and frozen",
    "flask_triton": "(d) Flask, Triton over HTTP, float32 inline",
    "litserve_openvino": "(e) LitServe, OpenVINO",
}
PARTS = ("model process", "triton", "decoders", "web", "nginx", "jobs", "watchdog", "supervisord", "all")


def title(name: str) -> str:
    """Return the words for a baseline, or for its comparison in one precision."""
    baseline, _, precision = name.rpartition("_")
    return NAMES[name] if name in NAMES else f"{NAMES[baseline]}, both in {precision}"


def spread_cell(figure: Figures | None) -> str:
    """Return `12.3 (11.9–12.8)`, or a dash without figures."""
    if not figure:
        return "–"
    median, least, most = (short_number(figure[name]) for name in ("median", "least", "most"))
    return f"{median} ({least}–{most})"


def comparison_cells(figure: Figures) -> list[str]:
    """Return our figure, theirs, and the ratio or the reason for none."""
    ratio = spread_cell(figure["ratio"]) if "ratio" in figure else figure["no_ratio"]
    return [spread_cell(figure["ours"]), spread_cell(figure["theirs"]), ratio]


def medians_cell(figure: Figures) -> str:
    """Return both sides' medians."""
    return " / ".join(f"{figure[side]['median']:.0f}" if figure.get(side) else "–" for side in ("ours", "theirs"))


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: text in the first column, numbers in the others."""
    return table(head, "l" + "r" * (len(head) - 1), rows)


def throughput(figures: Figures) -> str:
    rows = []
    for name, clients, row in comparisons(figures):
        precision = figures["against"][name]["precision"]
        start = [title(name), f"{precision['ours']} / {precision['theirs']}", clients]
        if "left_out" in row:
            rows.append([*start, row["left_out"], *["–"] * 4])
        else:
            rows.append([*start, *comparison_cells(row["per_s"]), *map(medians_cell, (row["p50_ms"], row["p99_ms"]))])
    head = ["against", "precision, ours / theirs", "clients", "ours, clips/s", "theirs, clips/s", "ratio"]
    whole = grid([*head, "p50 ms, ours / theirs", "p99 ms"], rows)
    parts = [f"The clip is {figures['clips']['small']}.\n\n{whole}", limit(figures["parts"]), unanswered(figures)]
    return "\n".join([*filter(None, parts), cpu(figures), one_client(figures)])


def comparisons(figures: Figures) -> Iterator[tuple[str, str, Figures]]:
    """Yield each comparison of the suite: its name, number of clients and figures."""
    for name, against in figures["against"].items():
        for clients, row in against["clients"].items():
            yield name, clients, row


def limit(parts: Figures) -> str:
    """Return the sentences about the limit by the stages alone."""
    share = parts["per_s"]["ratio"]
    return (
        f"Decoding one clip takes {parts['decode_core_s']['median'] * 1e3:.1f} ms of one core and inference "
        f"{parts['infer_core_s']['median'] * 1e3:.1f} ms: {parts['cores']} cores could do "
        f"{parts['per_s']['theirs']['median']:.1f} clips a second if nothing else cost anything. In turns with that, "
        f"Clipstack did {parts['per_s']['ours']['median']:.1f} with {parts['clients']} clients: {share['median']:.0%} "
        f"({share['least']:.0%}–{share['most']:.0%}), with the load generator on the same cores.\n"
    )


def unanswered(figures: Figures) -> str:
    """Return the sentence about requests without status 200, which do not count as answers."""
    failed = [
        f"{title(name)} at {clients} clients: {count} of {NAMES['clipstack'] if side == 'ours' else 'its own'}"
        for name, clients, row in comparisons(figures)
        for side, count in row.get("failed", {}).items()
        if count
    ]
    return f"Not answered, and not counted: {'; '.join(failed)}.\n" if failed else ""


def cpu(figures: Figures) -> str:
    """Return the table of the processor milliseconds of a clip, by part of our stack and for each baseline."""
    columns = {
        f"{clients} clients": row["cpu_ms"]
        for name, clients, row in comparisons(figures)
        if name == "litserve_openvino" and "cpu_ms" in row
    }
    rows = [[part, *(f"{cost['ours'].get(part, 0):.1f}" for cost in columns.values())] for part in PARTS]
    rows.append(["LitServe, all", *(f"{cost['theirs']['all']:.1f}" for cost in columns.values())])
    return (
        f"### Processor time of a clip\n\nMilliseconds of one core, over all turns.\n\n{grid(['part', *columns], rows)}"
    )


def one_client(figures: Figures) -> str:
    strongest = figures["against"].get("litserve_openvino", {"clients": {}})
    pairs = {"small": strongest["clients"].get("1", {}), "large": strongest.get("large", {})}
    rows = [[which, *comparison_cells(row["p50_ms"])] for which, row in pairs.items() if "p50_ms" in row]
    names = list(next(iter(figures["stages"].values())))
    stages = [[which, *(f"{row[name]['median']:.1f}" for name in names)] for which, row in figures["stages"].items()]
    clips = "".join(f"- {which}: {words}\n" for which, words in figures["clips"].items())
    medians = grid(("clip", "ours, ms", f"{NAMES['litserve_openvino']}, ms", "ratio"), rows)
    return (
        f"### One client\n\n{clips}\n{medians}\nWhere each millisecond goes (medians); of the long film one clip is taken "
        f"from the middle:\n\n{grid(('clip', *names), stages)}"
    )


def transport(figures: Figures) -> str:
    ways = {"shm_ms": "shared memory, ms", "inline_ms": "inline gRPC, ms"}
    rows = [
        [size, *(spread_cell(row[way]) for way in (*ways, "inline_over_shm"))] for size, row in figures["sizes"].items()
    ]
    alone = f"By shared memory alone, one 2.4 MB clip after the other: {spread_cell(figures['overhead_ms'])} ms."
    return f"{figures['about']}\n\n{grid(('MB', *ways.values(), 'inline over shared'), rows)}\n{alone}\n"


def handoff(figures: Figures) -> str:
    rows = [
        [
            size,
            spread_cell(row["seconds"]["theirs"]),
            *(spread_cell(row[way].get(what)) for way in ("seconds", "form_seconds") for what in ("ours", "ratio")),
        ]
        for size, row in figures["sizes"].items()
    ]
    head = ("MB", "form through Flask, s", "body handed on, s", "ratio", "form handed on, s", "ratio")
    return f"{figures['about']}\n\n{grid(head, rows)}"


def memory(figures: Figures) -> str:
    parts = ("all", "web", "decoders", "triton")
    rows = [
        [NAMES[name], workers, *(f"{row[part]:.0f}" if part in row else "–" for part in parts)]
        for name, costs in figures["sides"].items()
        for workers, row in costs.items()
    ]
    head = ("service", "workers", "all, MiB", "web workers", "their decoders", "Triton")
    costs = [f"{NAMES[name]} {added:.0f} MiB" for name, added in figures["theirs_each_mib"].items()]
    words = (
        f"Triton with one web worker holds {figures['triton']['ratio']['median']:.2f} times the weights, its own memory "
        f"included. One more web worker costs {figures['ours_each_mib']:.0f} MiB, with its decoders "
        f"{figures['ours_each_with_decoders_mib']:.0f} MiB; one more worker of {' and of '.join(costs)}."
    )
    return f"{figures['about']}\n\n{grid(head, rows)}\n{words}\n"


def load_curve(figures: Figures) -> str:
    rows = [
        [
            f"{row['offered']:g}",
            f"{row['goodput_of_capacity']:.2f}",
            *(f"{row[kind][name] or 0:.0f}" for kind, name in LATENCIES),
        ]
        for row in figures["rows"]
    ]
    head = ("offered, of capacity", "answered in time, of capacity", "p50 ms", "p99 ms", "p99 of refusals, ms")
    return f"{figures['about']}\n\n{grid(head, rows)}"


LATENCIES = (("admitted", "p50_ms"), ("admitted", "p99_ms"), ("refused", "p99_ms"))


def startup(figures: Figures) -> str:
    first = figures["first"]
    answers = grid(("ours", f"{NAMES['litserve_openvino']}", "ratio"), [comparison_cells(figures["first_answer_s"])])
    return (
        f"{figures['about']}\n\n{answers}\n`make up` returns after {spread_cell(figures['ready_s'])} s. Of the "
        f"{first['clips']} clips right after our start the first takes {spread_cell(first['first_over_median'])} times "
        f"as long as the one in the middle, and the slowest {spread_cell(first['slowest_over_median'])} times.\n"
    )


def images(figures: Figures) -> str:
    rows = [
        [NAMES[name], f"{row['precision']['ours']} / {row['precision']['theirs']}", *comparison_cells(row["per_s"])]
        for name, row in figures["against"].items()
        if "per_s" in row
    ]
    head = ("against", "precision, ours / theirs", "ours, pictures/s", "theirs", "ratio")
    return f"{figures['about']}\n\n{grid(head, rows)}"


def search(figures: Figures) -> str:
    return (
        f"{figures['about']} p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms, "
        f"{figures['cpu_ms']:.1f} ms of processor time. "
        f"{figures['recall_at_5']:.1%} of the five nearest windows of an exact search are found; "
        f"{figures['same_scene']:.1%} of the five found are of the query's scene. The first search reads the vectors, "
        f"in {figures['first_s']:.2f} s. A web worker holds {figures['memory_mib']:.0f} MiB of them; the embeddings "
        f"themselves would take {figures['exact_memory_mib']:.0f} MiB.\n"
    )


SECTIONS: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "throughput": ("Clips a second", throughput),
    "startup": ("From nothing to the first answer", startup),
    "transport": ("To Triton and back", transport),
    "handoff": ("Uploads", handoff),
    "memory": ("Memory", memory),
    "load_curve": ("More than can be done", load_curve),
    "images": ("Pictures", images),
    "search": ("Search for similar moments", search),
}
