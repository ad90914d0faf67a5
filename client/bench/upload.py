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

from client.bench.link import BITS_A_BYTE, WORDS, Kind, Link, link
from client.errors import ClipstackError

SAME = ("media", "model")  # for all runs of a file
# What is asked of the client, and whether it knows the rate of the link before
WAYS = {
    "none": ("none", False),
    "shrink": ("shrink", False),
    "frames": ("frames", False),
    "auto": ("auto", True),
    "auto at first": ("auto", False),
}
BUDGET_S = 20.0  # for all the times that one thing is measured
LIMIT_S = 600.0


async def measure(
    service: tuple[str, int],
    files: Sequence[Path],
    kind: Kind,
    rates: Sequence[float | None],
    times: int,
    model: str | None = None,
) -> AsyncIterator[tuple[Path, float | None, list[dict[str, Any]]]]:
    """For each rate (Mbit/s) and file the runs of all ways, that of the whole file first; each `times` times."""
    for mbit in rates:
        async with link(kind, service, mbit) as line:
            # The service refuses names that are not its own: the address of a link is one
            host = f"{service[0]}:{service[1]}"
            told = {"url": line.url, "host": host, "times": times, "budget_s": BUDGET_S, "model": model}
            # The first request after a start is no measure.
            await _measured(line, {**told, "path": str(files[0]), "reduction": "none", "times": 1})
            for file in files:
                runs = []
                for way, (reduction, knows) in WAYS.items():
                    rate = mbit * 1e6 / BITS_A_BYTE if knows and mbit is not None else None
                    asked = {**told, "path": str(file), "reduction": reduction, "rate": rate}
                    runs.append({"way": way, **await _measured(line, asked)})
                yield file, mbit, [compared(run, runs[0]) for run in runs]


async def _measured(line: Link, asked: dict[str, Any]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *line.prefix, sys.executable, "-m", "client.bench.measuring", json.dumps(asked),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = err.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise ClipstackError(f"{asked['path']}, {asked['reduction']}: {words[-1]}", code="bench_failed")
    run: dict[str, Any] = json.loads(out)
    return run


def compared(run: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """The run with its median time, and how its answer differs from that to the whole file."""
    scores, before = run["scores"], whole["scores"]
    labels = sorted(before, key=lambda label: -before[label])
    told = {name: value for name, value in run.items() if name not in ("scores", "media", "model")}
    return told | {
        "median_s": median(run["seconds"]),
        "label": max(scores, key=lambda label: float(scores[label])),
        "same_label": max(scores, key=lambda label: float(scores[label])) == labels[0],
        "largest_difference": round(max(abs(scores.get(label, 0.0) - before[label]) for label in labels), 4),
        "media": run["media"],
        "model": run["model"],
    }


def results(kind: Kind, measured: Sequence[tuple[Path, float | None, list[dict[str, Any]]]]) -> dict[str, Any]:
    """All of it as one JSON object: what was measured on, and the runs of each file."""
    files: dict[str, dict[str, Any]] = {}
    for path, mbit, runs in measured:
        media = runs[0]["media"]
        entry = files.setdefault(path.name, {"name": path.name, "media": media, "runs": []})
        entry["runs"] += [
            {"mbit": mbit} | {n: v for n, v in run.items() if n not in ("media", "model")} for run in runs
        ]
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "link": WORDS[kind],
        "model": measured[0][2][0]["model"] if measured else None,
        "files": list(files.values()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
