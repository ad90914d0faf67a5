"""Table and plot of the scaling of `clipstack bulk` in docs/bulk.md: python -m bench.bulk.page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import pages
from bench.bulk.simulation import Cluster, Outcome, simulate

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE, PICTURE = (ROOT / path for path in ("bench/results/bulk.json", "docs/bulk.md", "docs/bulk_scaling.svg"))
NODES = (1, 2, 5, 10, 20, 50, 100)
PARTS_A_NODE = 20
# Assumptions of the model about the bucket and its network. S3 states the requests of one prefix and the latency.
REQUESTS_PER_S, LATENCY_S = 5500.0, 0.1
NETWORK_GBIT, LINK_GBIT = 25.0, 10.0
CONCURRENCY, PART_FILES = 16, 256
COLOURS = {"pictures": "#1b7f5c", "films": "#c8741b"}

Figures = Mapping[str, Any]


def cluster(figures: Figures) -> Cluster:
    """Return the modelled cluster, with the measured time of the head node."""
    return Cluster(
        REQUESTS_PER_S,
        LATENCY_S,
        NETWORK_GBIT * 1e9 / 8,
        LINK_GBIT * 1e9 / 8,
        figures["head_part_s"],
        CONCURRENCY,
        PART_FILES,
    )


def run_of(workload: Figures, engine: str, nodes: int) -> Figures:
    """Return one measured run."""
    run: Figures
    (run,) = (run for run in workload["runs"] if (run["engine"], run["nodes"]) == (engine, nodes))
    return run


def core_times(workload: Figures) -> list[float]:
    """Return the core times of files: as the measured ones are spread, with the mean of a node that is never idle."""
    seconds = workload["seconds"]
    scale = 1 / run_of(workload, "ray", 1)["steady_per_s"] / (sum(seconds) / len(seconds))
    return [second * scale for second in seconds]


def model(figures: Figures) -> dict[str, dict[int, Outcome]]:
    """Return the modelled runs of each workload by the number of nodes."""
    return {
        name: {
            nodes: simulate(
                cluster(figures), nodes, PARTS_A_NODE * PART_FILES * nodes, workload["file_bytes"], core_times(workload)
            )
            for nodes in NODES
        }
        for name, workload in figures["workloads"].items()
    }


def measured_table(figures: Figures) -> str:
    """Return the table of the measured runs."""
    head = (
        "measured",
        "engine",
        "nodes",
        "files/s",
        "of one node",
        "files",
        "command, s",
        "first part after, s",
        "load",
    )
    rows = []
    for name, workload in figures["workloads"].items():
        for run in workload["runs"]:
            gain = run["steady_per_s"] / run_of(workload, run["engine"], 1)["steady_per_s"]
            cells = [f"{run['steady_per_s']:.1f}", f"{gain:.2f}", f"{run['files']:,}", f"{run['wall_s']:.1f}"]
            cells += [f"{run['first_part_s']:.1f}", run.get("load", "–")]
            rows.append([name, run["engine"], run["nodes"], *cells])
    return pages.table(head, "llrrrrrrr", rows)


def modelled_table(modelled: Mapping[str, Mapping[int, Outcome]]) -> str:
    """Return the table of the modelled runs."""
    names = list(modelled)
    head = ["modelled: nodes"] + [f"{name}{what}" for name in names for what in (", files/s", ", of linear", ", limit")]
    rows = []
    for nodes in NODES:
        cells = [str(nodes)]
        for name in names:
            outcome = modelled[name][nodes]
            share = outcome.per_s / nodes / modelled[name][1].per_s
            cells += [
                f"{outcome.per_s:,.0f}" if outcome.per_s >= 100 else f"{outcome.per_s:.1f}",
                f"{share:.0%}",
                outcome.limit,
            ]
        rows.append(cells)
    return pages.table(head, "r" + "rrl" * len(names), rows)


def overheads(figures: Figures) -> str:
    """Return the sentences about the engine `ray` against the engine `local` on the same nodes."""
    parts = []
    for name, workload in figures["workloads"].items():
        for nodes in (1, 2):
            local, ray = (run_of(workload, engine, nodes) for engine in ("local", "ray"))
            steady = local["steady_per_s"] / ray["steady_per_s"] - 1
            started = ray["first_part_s"] - local["first_part_s"]
            parts.append(
                f"{name}, {nodes} node{'s' * (nodes > 1)}: {steady:+.0%}, and {started:.1f} s more to its first part"
            )
    return f"Ray against the engine `local`, time for the same files once both work: {'; '.join(parts)}.\n"


def body(figures: Figures) -> str:
    """Return the generated part of the page."""
    machine, workloads = figures["machine"], figures["workloads"]
    sizes = ", ".join(f"{name} of {workload['file_bytes'] / 1e3:,.0f} kB" for name, workload in workloads.items())
    return (
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['day']}: each node is a stack "
        f"and a Ray node on one core of its own, with {figures['concurrency']} files at a time; {sizes}. Differences of some percent are chance.\n\n"
        f"{measured_table(figures)}\n{overheads(figures)}\n"
        f"Not measured, but modelled by a simulation (`bench/bulk/simulation.py`) with the measured times of files "
        f"and of the driver ({figures['head_part_s'] * 1e3:.1f} ms a part): nodes of one core, files in a bucket. Assumed are "
        f"{REQUESTS_PER_S:,.0f} requests a second (what S3 states for a prefix), {LATENCY_S * 1e3:.0f} ms to the first byte, "
        f"{NETWORK_GBIT:g} Gbit/s for all nodes, {LINK_GBIT:g} Gbit/s for each, `-j {CONCURRENCY}` and parts of {PART_FILES} files.\n\n"
        f"{modelled_table(model(figures))}\n![Files a second by nodes]({PICTURE.name})\n"
    )


def picture(figures: Figures, path: Path) -> None:
    """Draw a panel for each workload: measured points, the modelled line, and what linear scaling would give."""
    modelled, workloads = model(figures), figures["workloads"]
    with pages.chart(path, columns=len(workloads), figsize=(8, 3.2)) as (_, panels):
        for panel, (name, workload) in zip(panels, workloads.items(), strict=True):
            rates = {nodes: outcome.per_s for nodes, outcome in modelled[name].items()}
            one = rates[1]
            panel.plot(
                NODES, [one * nodes for nodes in NODES], color="#9aa1ab", linewidth=1, linestyle=":", label="linear"
            )
            panel.plot(NODES, rates.values(), color=COLOURS[name], linewidth=1.4, linestyle="--", label="modelled")
            measured = {nodes: run_of(workload, "ray", nodes)["steady_per_s"] for nodes in (1, 2)}
            panel.scatter(measured.keys(), measured.values(), color=COLOURS[name], zorder=3, label="measured")
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xticks(NODES, map(str, NODES))
            panel.minorticks_off()
            panel.set_title(name, fontsize=10)
            panel.set_xlabel("nodes of one core")
            panel.set_ylabel("files a second")
            panel.legend(frameon=False, loc="upper left")


def main() -> None:
    figures = json.loads(RESULTS.read_text())
    picture(figures, PICTURE)
    pages.replace_part(PAGE, pages.begin_mark("bench.bulk.page"), body(figures))


if __name__ == "__main__":
    main()
