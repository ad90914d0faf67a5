"""Measured runs of `clipstack bulk` on one and two nodes of one core each, with the engines `local` and `ray`."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.fixtures.videos import write_film

CORES = (0, 1)
CONCURRENCY = 4
LIMIT_S = 300
FILM = (1920, 1080, 30, 10, "libx264", {"preset": "superfast", "b": "8M", "g": "30", "bf": "0"})


@dataclass(frozen=True)
class Workload:
    """Files of one kind; two nodes get twice as many as one, so that they take about as long."""

    name: str
    files: int
    model: str
    part_files: int


WORKLOADS = (Workload("pictures", 2500, "objects", 50), Workload("films", 120, "camera_motion", 5))


def make_files(workload: Workload, folder: Path, number: int) -> Path:
    """Write the files of a workload and return their folder."""
    from tests.support.archives import pictures

    if workload.name == "pictures":
        pictures(folder, number)
        return folder
    folder.mkdir(parents=True)
    film = write_film(folder.with_suffix(".mp4"), *FILM)
    for index in range(number):
        os.link(film, folder / f"{index:05}.mp4")  # the service's cache of answers is off
    return folder


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Start the processes of this block on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def command(python: Path | str, source: Path, results: Path, workload: Workload) -> list[str]:
    """Return the words of the command that both engines share."""
    words: list[object] = [python, "-m", "clipstack_client", "bulk", source, "--to", results, "--format", "jsonl", "-q"]
    words += ["--model", workload.model, "-j", CONCURRENCY, "--part-files", workload.part_files]
    return list(map(str, words))


def run(words: Sequence[str], results: Path, cores: Sequence[int], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a command, and return its rates: of all of it, and of the time between its first and its last part."""
    shutil.rmtree(results, ignore_errors=True)
    began, cpu_before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with pinned(cores):
        subprocess.run(words, env=environment, check=True, timeout=LIMIT_S)
    ended, cpu = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    parts = sorted((path.stat().st_mtime, path) for path in results.glob("part-*"))
    counts = [len(path.read_text().splitlines()) for _, path in parts]
    return {
        "files": sum(counts),
        "parts": len(parts),
        "wall_s": round(ended - began, 2),
        "first_part_s": round(parts[0][0] - began, 2),
        "steady_per_s": round(sum(counts[1:]) / (parts[-1][0] - parts[0][0]), 2),
        "load": round(os.getloadavg()[0], 1),
        "cpu_s": round(cpu.ru_utime + cpu.ru_stime - cpu_before.ru_utime - cpu_before.ru_stime, 2),
    }


def row_seconds(results: Path) -> list[float]:
    """Return the seconds of every row of a run; raise ValueError if a row has an error."""
    rows = [json.loads(line) for path in sorted(results.glob("part-*")) for line in path.read_text().splitlines()]
    if bad := [row["error_code"] for row in rows if row["error_code"]]:
        raise ValueError(f"{len(bad)} files have errors, the first {bad[0]}")
    return [row["seconds"] for row in rows]


def measure(folder: Path, part: float = 1.0) -> dict[str, Any]:
    """Measure everything with stacks and a cluster of its own; `part` of the files, for a trial."""
    from tests.support.archives import RAY_PYTHON
    from tests.support.ray_cluster import ray_cluster
    from tests.support.stacks import running_stack

    with ExitStack() as resources:
        urls = []
        for core in CORES:
            with pinned([core]):
                started = running_stack(models=["objects", "camera_motion"], web_workers="1", decoders="1")
                urls.append(resources.enter_context(started).url)
        workloads = [replace(workload, files=round(workload.files * part)) for workload in WORKLOADS]
        return _measure(folder, workloads, urls, RAY_PYTHON, ray_cluster)


def _measure(
    folder: Path, workloads: Sequence[Workload], urls: list[str], ray_python: Path, ray_cluster: Any
) -> dict[str, Any]:
    figures: dict[str, Any] = {"concurrency": CONCURRENCY, "workloads": {}}
    results = folder / "results"
    for nodes in (1, 2):
        with ray_cluster(urls[:nodes], [{core} for core in CORES[:nodes]]) as cluster:
            on_ray = ["--engine", "ray", "--ray-address", cluster.address]
            for workload in workloads:
                source = make_files(workload, folder / f"{workload.name}-{nodes}", workload.files * nodes)
                entry = figures["workloads"].setdefault(workload.name, {"runs": []})
                entry["file_bytes"] = round(sum(f.stat().st_size for f in source.rglob("*.*")) / workload.files / nodes)
                engines: dict[str, tuple[Path | str, list[str]]] = {
                    "local": (sys.executable, ["--url", ",".join(urls[:nodes])]),
                    "ray": (ray_python, on_ray),
                }
                for engine, (python, options) in engines.items():
                    words = command(python, source, results, workload) + options
                    figure = run(words, results, CORES[:nodes], cluster.environment)
                    entry["runs"].append({"engine": engine, "nodes": nodes, **figure})
                    print(json.dumps(entry["runs"][-1]), file=sys.stderr, flush=True)
                    if nodes == 1 and engine == "local":
                        entry["seconds"] = _thinned(row_seconds(results))
            if nodes == 2:
                source = make_files(WORKLOADS[0], folder / "head", 600)
                few, many = (
                    run(words + on_ray, results, CORES, cluster.environment)
                    for words in (
                        command(ray_python, source, results, replace(WORKLOADS[0], part_files=part_files))
                        for part_files in (100, 2)
                    )
                )
                figures["head_part_s"] = _difference(few, many)
    return figures


def _difference(few: Mapping[str, Any], many: Mapping[str, Any]) -> float:
    """Return the processor time of the driver for one part, from runs with few large parts and with many small ones."""
    per_part: float = (many["cpu_s"] - few["cpu_s"]) / (many["parts"] - few["parts"])
    return round(per_part, 5)


def _thinned(seconds: list[float], number: int = 200) -> list[float]:
    """Return quantiles of the times, which the model draws from."""
    ordered = sorted(seconds)
    return [ordered[int((index + 0.5) * len(ordered) / number)] for index in range(number)]
