"""Measures every file over every link in every way, and compares the answers with the one to the whole file."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from client.bench.link import WORDS, Kind, Link, link
from client.errors import ClipstackError

REDUCTIONS = ("none", "shrink", "frames", "auto")
TIMES, BUDGET_S = 3, 15.0
LIMIT_S = 600.0


async def measure(
    service: tuple[str, int], files: Sequence[Path], kind: Kind, rates: Sequence[float | None]
) -> AsyncIterator[tuple[Path, float | None, list[dict[str, Any]]]]:
    """For each rate (Mbit/s) and file the runs of all reductions, that of the whole file first."""
    for mbit in rates:
        async with link(kind, service, mbit) as way:
            await _measured(way, files[0], "none", 1)  # the first request after a start is no measure
            for file in files:
                runs = [await _measured(way, file, reduction, TIMES) for reduction in REDUCTIONS]
                yield file, mbit, [compared(run, runs[0]) for run in runs]


async def _measured(way: Link, file: Path, reduction: str, times: int) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *way.prefix, sys.executable, "-m", "client.bench.measuring", way.url, str(file), reduction, str(times),
        str(BUDGET_S), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = err.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise ClipstackError(f"{file.name}, {reduction}: {words[-1]}", code="bench_failed")
    run: dict[str, Any] = json.loads(out)
    return run


def compared(run: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """The run with its median time, and how its answer differs from that to the whole file."""
    scores, before = run["scores"], whole["scores"]
    labels = sorted(before, key=lambda label: -before[label])
    told = {name: value for name, value in run.items() if name not in ("scores", "media")}
    return told | {
        "median_s": median(run["seconds"]),
        "label": max(scores, key=lambda label: float(scores[label])),
        "same_label": max(scores, key=lambda label: float(scores[label])) == labels[0],
        "largest_difference": round(max(abs(scores.get(label, 0.0) - before[label]) for label in labels), 4),
        "media": run["media"],
    }


def results(kind: Kind, measured: Sequence[tuple[Path, float | None, list[dict[str, Any]]]]) -> dict[str, Any]:
    """All of it as one JSON object: what was measured on, and the runs of each file."""
    files: dict[str, dict[str, Any]] = {}
    for path, mbit, runs in measured:
        media = runs[0]["media"]
        entry = files.setdefault(path.name, {"name": path.name, "media": media, "runs": []})
        entry["runs"] += [{"mbit": mbit} | {n: v for n, v in run.items() if n != "media"} for run in runs]
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "link": WORDS[kind],
        "files": list(files.values()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
