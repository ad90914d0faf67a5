"""Measurement of every file over every link in every way, with a comparison of the answers."""

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

from bench.upload.link import BITS_A_BYTE, WORDS, Kind, Link, link
from clipstack_client.errors import ClipstackError

SAME = ("media", "model")  # equal for all runs of a file
# The reduction, and whether the client knows the link's rate in advance
WAYS = {
    "none": ("none", False),
    "shrink": ("shrink", False),
    "frames": ("frames", False),
    "auto": ("auto", True),
    "auto at first": ("auto", False),
}
BUDGET_S = 20.0  # for all repetitions of one measurement
LIMIT_S = 600.0


async def measure(
    service: tuple[str, int],
    files: Sequence[Path],
    kind: Kind,
    rates: Sequence[float | None],
    times: int,
    model: str | None = None,
) -> AsyncIterator[tuple[Path, float | None, list[dict[str, Any]]]]:
    """Yield the runs for each rate (Mbit/s) and file, with the whole file first.

    Each way is measured `times` times.
    """
    for mbit in rates:
        async with link(kind, service, mbit) as line:
            # The service refuses unknown host names, for example the address of a link
            host = f"{service[0]}:{service[1]}"
            common = {"url": line.url, "host": host, "times": times, "budget_s": BUDGET_S, "model": model}
            # The first request after a start is slower, so it is not measured.
            await _measured(line, {**common, "path": str(files[0]), "reduction": "none", "times": 1})
            for file in files:
                runs = []
                for way, (reduction, knows) in WAYS.items():
                    rate = mbit * 1e6 / BITS_A_BYTE if knows and mbit is not None else None
                    params = {**common, "path": str(file), "reduction": reduction, "rate": rate}
                    runs.append({"way": way, **await _measured(line, params)})
                yield file, mbit, [compared(run, runs[0]) for run in runs]


async def _measured(line: Link, asked: dict[str, Any]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *line.prefix, sys.executable, "-m", "bench.upload.measuring", json.dumps(asked),
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
    """Return the run with its median time, and how its answer differs from that for the whole file."""
    scores, whole_scores = run["scores"], whole["scores"]
    labels = sorted(whole_scores, key=lambda label: -whole_scores[label])
    result = {name: value for name, value in run.items() if name not in ("scores", "media", "model")}
    return result | {
        "median_s": median(run["seconds"]),
        "label": max(scores, key=lambda label: float(scores[label])),
        "same_label": max(scores, key=lambda label: float(scores[label])) == labels[0],
        "largest_difference": round(max(abs(scores.get(label, 0.0) - whole_scores[label]) for label in labels), 4),
        "media": run["media"],
        "model": run["model"],
    }


def results(kind: Kind, measured: Sequence[tuple[Path, float | None, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Return all results as one JSON object: the machine, and the runs of each file."""
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
