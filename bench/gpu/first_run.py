#!/usr/bin/env python3
"""The first run on a GPU, in three calls that need no decision. Each writes DIR/CALL.json and DIR/CALL.log.

    python3 bench/gpu/first_run.py layouts  --output DIR      230 s: the machine, memory between processes, every layout
    python3 bench/gpu/first_run.py service  --output DIR      270 s: the real Triton, its transports, killed workers
    python3 bench/gpu/first_run.py decoding --output DIR      100 s: NVDEC
    ... --dry-run                                             the same steps on a CPU, with tiny networks and films

Every step is a process with a time limit of its own, so one that hangs or dies leaves the others alone. Exit status 0:
every step ended by itself; 1: one did not, or an exception was recorded; see the JSON.
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
# A bundle's NumPy must come first: Triton's Python backend and its stub return nothing with NumPy 2.
PATHS = [str(path) for path in (ROOT / "site", ROOT) if path.is_dir()]
ENDING_S = 5.0  # kept for writing the results


class Step(NamedTuple):
    """One step: a module of bench/gpu/first, and its time limit in seconds."""

    name: str
    limit_s: float


class Call(NamedTuple):
    """Steps that run one after the other, and the limit of all of them in seconds."""

    limit_s: float
    steps: tuple[Step, ...]


CALLS = {
    "layouts": Call(230, (Step("facts", 25), Step("ipc", 60), Step("layouts", 200))),
    "service": Call(270, (Step("facts", 25), Step("service", 265))),
    "decoding": Call(100, (Step("facts", 25), Step("nvdec", 95))),
}


def main() -> int:
    """Run one call and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("call", choices=CALLS, help="which of the three calls")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, with tiny networks and films")
    parser.add_argument("--limit", type=float, help="seconds of the whole call")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path[:0] = PATHS
    if arguments.step:
        return run_step(arguments.step, arguments.output, arguments.dry_run)
    arguments.output.mkdir(parents=True, exist_ok=True)
    call = CALLS[arguments.call]
    return run_call(arguments.call, call, arguments.limit or call.limit_s, arguments.output, arguments.dry_run)


def run_call(name: str, call: Call, limit_s: float, output: Path, dry_run: bool) -> int:
    """Run the steps of a call and write the results after each; another limit changes those of the steps in proportion."""
    deadline = time.monotonic() + limit_s - ENDING_S
    results: dict[str, Any] = {"call": name, "dry_run": dry_run, "limit_s": limit_s, "steps": {}}
    with (output / f"{name}.log").open("wb") as log:
        for step in call.steps:
            allowed_s = min(step.limit_s * limit_s / call.limit_s, deadline - time.monotonic())
            results["steps"][step.name] = _run(name, step.name, max(0.0, allowed_s), output, dry_run, log)
            (output / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    status = {step: result["status"] for step, result in results["steps"].items()}
    print(json.dumps(status), flush=True)
    return 0 if set(status.values()) == {"ok"} else 1


def _run(call: str, step: str, allowed_s: float, output: Path, dry_run: bool, log: Any) -> dict[str, Any]:
    """Run one step in its own process group, which ends with it."""
    part = output / f"{call}-{step}.part.json"
    part.unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), call, "--output", str(part), "--step", step]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, *(["--dry-run"] if dry_run else [])], cwd=ROOT, env=_environment(), stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        status = {0: "ok"}.get(process.wait(allowed_s), "failed")
    except subprocess.TimeoutExpired:
        status = "timeout"
    _end(process)
    results = json.loads(part.read_text()) if part.exists() else {}
    part.unlink(missing_ok=True)
    return {"status": status, "seconds": time.monotonic() - began, "results": results}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the step and everything that it started: first Triton, which closes the GPU's memory."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(ENDING_S / 2)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _environment() -> dict[str, str]:
    paths = [*PATHS, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"CUDA_VISIBLE_DEVICES": "0"} | os.environ | {
        "PYTHONPATH": os.pathsep.join(paths), "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def run_step(name: str, output: Path, dry_run: bool) -> int:
    """Run one step in this process; return 1 when a part of it went wrong."""
    from bench.gpu.first.report import Report

    report = Report(output)
    with report.part("step"):
        importlib.import_module(f"bench.gpu.first.{name}").run(report, dry_run)
    wrong = [result for result in report.results.values() if isinstance(result, dict) and "error" in result]
    return 1 if wrong or "left_out" in report.results else 0


if __name__ == "__main__":
    sys.exit(main())
