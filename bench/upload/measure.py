"""Measurement of every file over every link in every way, with a comparison of the answers."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.environment import describe_machine
from bench.upload.link import BITS_A_BYTE, WORDS, Kind, Link, link
from bench.upload.worker import Measurement
from clipstack_client import ClipstackError
from clipstack_client.reduction.uploader import Reduction

# The reduction, and whether the client knows the link's rate in advance
WAYS: dict[str, tuple[Reduction, bool]] = {
    "none": ("none", False),
    "shrink": ("shrink", False),
    "frames": ("frames", False),
    "auto": ("auto", True),
    "auto at first": ("auto", False),
}
BUDGET_S = 20.0  # for all repetitions of one measurement
LIMIT_S = 600.0

Runs = tuple[Path, float | None, list[dict[str, Any]]]  # file, rate in Mbit/s, and a run of each way


@dataclass(frozen=True)
class Plan:
    """The service, the files, the rates of the link in Mbit/s, and the repetitions of each way."""

    service: tuple[str, int]
    files: Sequence[Path]
    kind: Kind
    rates: Sequence[float | None]
    times: int
    model: str | None = None


async def measure(plan: Plan) -> AsyncIterator[Runs]:
    """Yield the runs of each file at each rate; the first run is of the whole file."""
    # The service refuses unknown host names, for example the address of a link
    host = f"{plan.service[0]}:{plan.service[1]}"
    for mbit in plan.rates:
        async with link(plan.kind, plan.service, mbit) as line:
            common = Measurement(line.url, host, str(plan.files[0]), "none", 1, BUDGET_S, plan.model)
            await _run(line, common)  # the first request after a start is slower, so it does not count
            for file in plan.files:
                runs = []
                for way, (reduction, knows_rate) in WAYS.items():
                    rate = mbit * 1e6 / BITS_A_BYTE if knows_rate and mbit is not None else None
                    measurement = replace(common, path=str(file), reduction=reduction, times=plan.times, rate=rate)
                    runs.append({"way": way, **await _run(line, measurement)})
                yield file, mbit, [compare(run, runs[0]) for run in runs]


async def _run(line: Link, measurement: Measurement) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(*line.prefix, sys.executable, "-m", "bench.upload.worker", json.dumps(asdict(measurement))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = err.decode(errors="replace").strip().splitlines() or ["no message"]
        raise ClipstackError(f"{measurement.path}, {measurement.reduction}: {lines[-1]}", code="bench_failed")
    run: dict[str, Any] = json.loads(out)
    return run


def compare(run: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Return the run with its median time, and how its answer differs from that for the whole file."""
    scores, whole_scores = run["scores"], whole["scores"]
    labels = sorted(whole_scores, key=lambda label: -whole_scores[label])
    best = max(scores, key=lambda label: float(scores[label]))
    return {name: value for name, value in run.items() if name != "scores"} | {
        "median_s": median(run["seconds"]),
        "label": best,
        "same_label": best == labels[0],
        "largest_difference": round(max(abs(scores.get(label, 0.0) - whole_scores[label]) for label in labels), 4),
    }


def results(kind: Kind, measured: Sequence[Runs]) -> dict[str, Any]:
    """Return all results as one JSON object: the machine, and the runs of each file."""
    machine, files = describe_machine(), dict[str, dict[str, Any]]()
    for path, mbit, runs in measured:
        entry = files.setdefault(path.name, {"name": path.name, "media": runs[0]["media"], "runs": []})
        entry["runs"] += [
            {"mbit": mbit} | {name: value for name, value in run.items() if name not in ("media", "model")}
            for run in runs
        ]
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{machine['cores']} cores, {machine['processor']}",
        "link": WORDS[kind],
        "model": measured[0][2][0]["model"] if measured else None,
        "files": list(files.values()),
    }
