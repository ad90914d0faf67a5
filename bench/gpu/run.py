#!/usr/bin/env python3
"""Measures Clipstack on this machine's GPU: right first, then fast. Prints tables, writes one JSON.

    python3 bench/gpu/run.py --machine "one NVIDIA H200" --output h200.json
    python3 bench/gpu/run.py --models x3d_m                     one network alone: a few minutes
    python3 bench/gpu/run.py --cpu-check                        the same steps on the CPU, with small clips

Exit status: 0 all is right; 1 answers are wrong, or a part could not be measured; 3 CUDA has no device here; 4 all is
right, and a target was missed.

Needs CUDA, Python with torch, and no network: everything else is in the bundle that `make gpu-bundle` makes (Triton's
server, its stub for Python 3.12, the packages of site/). In a checkout the packages are those of .venv.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# The bundle's NumPy must come first: Triton's Python backend and its stub return nothing with NumPy 2.
PATHS = [str(path) for path in (ROOT / "site", ROOT) if path.is_dir()]
sys.path[:0] = PATHS
os.environ["PYTHONPATH"] = os.pathsep.join([*PATHS, *filter(None, [os.environ.get("PYTHONPATH")])])
# One GPU, by NVML's number, also for Triton
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")

import torch  # noqa: E402

from bench.environment import describe_machine  # noqa: E402
from bench.gpu import engine, film, memory, networks, server, steps  # noqa: E402
from bench.gpu import targets as gpu_targets  # noqa: E402
from bench.gpu.tables import show, show_checks, show_memory, show_speed, show_targets  # noqa: E402

WRONG, NO_DEVICE, MISSED = 1, 3, 4
BATCHES = [1, 2, 4, 8, 16, 32]


def main() -> int:
    """Run all measurements and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-check", action="store_true", help="small clips, on the CPU, system shared memory")
    parser.add_argument("--machine", default="", help="this machine in words, for the JSON")
    parser.add_argument("--models", nargs="+", choices=networks.SIZES, default=list(networks.SIZES))
    parser.add_argument("--precision", choices=["bf16", "f16", "f32"], default="bf16")
    parser.add_argument("--output", type=Path, help="file of the JSON; rewritten after every step")
    arguments = parser.parse_args()
    cpu = arguments.cpu_check
    if not cpu and not torch.cuda.is_available():
        print(f"no CUDA device here: torch {torch.__version__} finds none (--cpu-check needs none)", file=sys.stderr)
        return NO_DEVICE
    result: dict[str, Any] = {"machine": arguments.machine} | describe_machine() | versions(cpu)
    show(json.dumps(result, indent=1))
    with tempfile.TemporaryDirectory(prefix="clipstack-gpu-") as name:
        good = run(arguments, Path(name), result)
    targets = [] if cpu else gpu_targets.judge(result)
    result["targets"] = [target.as_dict() for target in targets]
    save(arguments.output, result)
    show_targets(targets)
    show("all answers are right" if good else "THERE ARE WRONG ANSWERS OR MISSING PARTS: see above")
    return WRONG if not good else 0 if all(target.met for target in targets) else MISSED


def versions(cpu: bool) -> dict[str, Any]:
    """Return the versions and hardware that the figures depend on."""
    versions: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    if cpu:
        return versions | {"on": "CPU, small clips"}
    properties = torch.cuda.get_device_properties(0)
    return versions | {
        "on": "GPU",
        "gpu": properties.name,
        "gpu_memory_mib": properties.total_memory >> 20,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def decoding(cpu: bool, folder: Path, result: dict[str, Any]) -> bool:
    """Measure decoding on CPU and GPU in a separate process; return whether its frames were right."""
    if not find_spec("av") or not find_spec("decord"):
        result["decoding"] = {"left_out": "PyAV or decord is not installed"}
        show("decoding is left out: PyAV or decord is not installed (`make gpu-decode-bundle` packs them)")
        return True
    output = folder / "decoding.json"
    words = [sys.executable, "-m", "bench.gpu.decode", "--output", str(output), *(["--cpu-check"] if cpu else [])]
    status = subprocess.run(words, cwd=ROOT).returncode
    result["decoding"] = json.loads(output.read_text()) if output.exists() else {"error": f"exit status {status}"}
    return status == 0


def save(path: Path | None, result: dict[str, Any]) -> None:
    """Write the results if there is an output file."""
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n")


def run(arguments: argparse.Namespace, folder: Path, result: dict[str, Any]) -> bool:
    """Run all steps into `result`; return whether all answers were right."""
    cpu, good = arguments.cpu_check, True
    device, models = "cpu" if cpu else "cuda:0", folder / "models"
    # On a GPU the configuration is the usual one, and Triton's start places the model.
    parameters = {"engine": "torch", "precision": "f32"} if cpu else {}
    batches, precision = ([1, 2], "f32") if cpu else (BATCHES, arguments.precision)
    reduced = "bf16" if precision == "f32" else precision
    subjects, allowed = [], {}
    for name in arguments.models:
        subject = networks.subject(name, device, small=cpu)
        written = networks.write_model(subject, models, parameters)
        checks = engine.check(subject, written / "1", device, reduced)
        good = show_checks(name, checks) and good
        speed = engine.speed(subject, written / "1", device, precision, batches)
        show_speed(name, speed)
        result.setdefault("engine", {})[name] = {"checks": checks, "speed": speed}
        save(arguments.output, result)
        subjects.append(subject)
        allowed[name] = max(row["allowed"] for row in checks if row["precision"] == precision)
    good = decoding(cpu, folder, result) and good
    save(arguments.output, result)
    if (missing := server.missing()) is not None:
        show(f"the whole path is left out: {missing}")
        result["path"] = {"left_out": missing}
        return False
    path_result = result["path"] = {}
    used = memory.of_host if cpu else memory.of_gpu
    before = used()
    try:
        with server.running_triton(models, folder / "run", max(batches), precision) as address:
            show(server.placing(folder / "run" / "triton.log"))
            path_result["triton"] = {"held_bytes": used() - before}
            show_memory("Triton with all models", path_result["triton"])
            good = (
                asyncio.run(steps.whole_path(address, subjects, allowed, cpu, film.film_path(folder), path_result))
                and good
            )
    except server.ServerError as error:
        path_result["error"] = str(error)
        show(f"WRONG {error}")
        return False
    return good


if __name__ == "__main__":
    sys.exit(main())
