#!/usr/bin/env python3
"""Measures Clipstack on this machine's GPU: right first, then fast. Prints tables, writes one JSON.

    python3 bench/gpu.py --machine "one NVIDIA H200"        all of it; exit status 3 where CUDA has no device
    python3 bench/gpu.py --cpu-check                        the same steps on the CPU, with small clips

Needs CUDA, Python with torch, and no network: everything else is in the bundle that `make gpu-bundle` makes (Triton's
server, its stub for Python 3.12, the packages of site/). In a checkout the packages are those of .venv.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes.util
import json
import os
import platform
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Before anything else: NumPy of the bundle, for Triton's Python backend gives nothing with NumPy 2 (also its stub's).
PATHS = [str(path) for path in (ROOT / "site", ROOT) if path.is_dir()]
sys.path[:0] = PATHS
os.environ["PYTHONPATH"] = os.pathsep.join([*PATHS, *filter(None, [os.environ.get("PYTHONPATH")])])

import torch  # noqa: E402

from bench import gpu_engine, gpu_film, gpu_networks, gpu_path  # noqa: E402

NO_DEVICE, WRONG = 3, 1
BATCHES = [1, 2, 4, 8, 16, 32]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-check", action="store_true", help="small clips, on the CPU, system shared memory")
    parser.add_argument("--machine", default="", help="this machine in words, for the JSON")
    parser.add_argument("--models", nargs="+", choices=gpu_networks.SIZES, default=list(gpu_networks.SIZES))
    parser.add_argument("--precision", choices=["bf16", "f16", "f32"], default="bf16")
    parser.add_argument("--output", type=Path, help="file of the JSON")
    arguments = parser.parse_args()
    cpu = arguments.cpu_check
    if not cpu and not torch.cuda.is_available():
        print(f"no CUDA device here: torch {torch.__version__} finds none (--cpu-check needs none)", file=sys.stderr)
        return NO_DEVICE
    device = "cpu" if cpu else "cuda:0"
    result: dict[str, Any] = {"machine": arguments.machine, "date": time.strftime("%Y-%m-%d")} | facts(cpu)
    print(json.dumps(result, indent=1))
    with tempfile.TemporaryDirectory(prefix="clipstack-gpu-") as name:
        good = run(arguments, device, Path(name), result)
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print("all answers are right" if good else "THERE ARE WRONG ANSWERS OR MISSING PARTS: see above")
    return 0 if good else WRONG


def facts(cpu: bool) -> dict[str, Any]:
    """What a figure is worth nothing without."""
    told: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "on": "CPU, small clips" if cpu else "GPU",
    }
    if not cpu:
        properties = torch.cuda.get_device_properties(0)
        told |= {
            "gpu": properties.name,
            "gpu_memory_mib": properties.total_memory >> 20,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return told


def run(arguments: argparse.Namespace, device: str, folder: Path, result: dict[str, Any]) -> bool:
    """Everything, into `result`; whether all of it was right."""
    cpu, good = device == "cpu", True
    models = folder / "models"
    # On a GPU the configuration is that of any model, and the start of Triton places it there.
    parameters = {"engine": "torch", "precision": "f32"} if cpu else {}
    batches = [1, 2] if cpu else BATCHES
    precision = "f32" if cpu else arguments.precision
    subjects, allowed = [], {}
    for name in arguments.models:
        subject = gpu_networks.subject(name, device, small=cpu)
        written = gpu_networks.write_model(subject, models, parameters)
        checks = gpu_engine.check(subject, written / "1", device)
        result.setdefault("engine", {})[name] = {"checks": checks}
        good = show_checks(name, checks) and good
        speed = gpu_engine.speed(subject, written / "1", device, precision, batches)
        result["engine"][name]["speed"] = speed
        show_speed(name, speed)
        subjects.append(subject)
        allowed[name] = max(row["allowed"] for row in checks if row["precision"] == precision)
    if (missing := no_triton()) is not None:
        print(f"the whole path is left out: {missing}")
        result["path"] = {"left_out": missing}
        return False
    with gpu_path.running_triton(models, folder / "run", max(batches), precision) as address:
        print(folder.joinpath("run", "triton.log").read_text(errors="replace").split("\nI")[0][:1500])
        result["path"] = asyncio.run(paths(address, subjects, allowed, cpu))
    return good


async def paths(address: str, subjects: list[Any], allowed: dict[str, float], cpu: bool) -> dict[str, Any]:
    gpu = None if cpu else 0
    ways = [way for way in gpu_path.WAYS if not (cpu and way == "cuda")]
    found: dict[str, Any] = {}
    for subject in subjects:
        for way in ways:
            told = await gpu_path.measure(address, subject, way, gpu, allowed[subject.name])
            found.setdefault(subject.name, {})[way] = told
            show_path(subject.name, way, told)
    first = next((subject for subject in subjects if subject.name == "x3d_m"), subjects[0])
    found["film"] = await gpu_film.measure(address, first, ways[0], gpu)
    print(f"film to scores by {ways[0]}: {found['film']}")
    for way in ways:
        found.setdefault("growth", {})[way] = await gpu_path.growth(
            address, first, way, gpu, used(cpu), 100 if cpu else 1000
        )
        print(f"many requests by {way}: {found['growth'][way]}")
    for way in ways[:-1]:
        found.setdefault("killed", {})[way] = await gpu_path.killed(address, first, way, gpu, used(cpu))
        print(f"kill -9 of a worker by {way}: {found['killed'][way]}")
    return found


def used(cpu: bool) -> Any:
    """Memory in use, bytes: of the GPU by all processes, or of /dev/shm."""

    def of_gpu() -> int:
        free, total = torch.cuda.mem_get_info(0)
        return total - free

    def of_host() -> int:
        told = os.statvfs("/dev/shm")
        return (told.f_blocks - told.f_bfree) * told.f_frsize

    return of_host if cpu else of_gpu


def no_triton() -> str | None:
    """Why Triton cannot be started here; None when it can."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (ROOT / ".runtime/triton/bin/tritonserver").exists():
        return "there is no Triton in .runtime/triton: `make setup`, or unpack the bundle"
    library = f"libpython{python}.so.1.0"
    stub = (ROOT / ".runtime/triton/backends/python/triton_python_backend_stub").read_bytes()
    if library.encode() not in stub:
        return f"its stub is not one of Python {python}"
    own = Path(sysconfig.get_config_var("LIBDIR") or "/nowhere") / library
    if not own.exists() and not ctypes.util.find_library(f"python{python}"):
        return f"there is no {library} on this machine, and the stub needs it"
    return None


def show_checks(name: str, rows: list[dict[str, Any]]) -> bool:
    for row in rows:
        told = f"{row['largest_difference']:.1e} of {row['allowed']:.1e}" if "absent" not in row else row["absent"]
        print(f"{name:9} {row['precision']:5} {row['layout']:14} {'good ' if row['good'] else 'WRONG'} {told}")
    return all(row["good"] for row in rows)


def show_speed(name: str, speed: dict[str, Any]) -> None:
    print(f"{name:9} {speed['precision']}, warm-up {speed['warm_up_s']:.1f} s")
    for batch, row in speed["batches"].items():
        figures = f"{row['p50_ms']:8.2f} ms {row['p99_ms']:8.2f} p99 {row['clips_per_s']:9.1f} clips/s"
        print(f"{'':9} batch {batch:>3} {figures}")


def show_path(name: str, way: str, told: dict[str, Any]) -> None:
    for senders, row in told["senders"].items():
        figures = f"{row['p50_ms']:8.2f} ms {row['p99_ms']:8.2f} p99 {row['clips_per_s']:9.1f} clips/s"
        print(f"{name:9} slot to scores by {way:6} {senders:>2} senders {figures}")


if __name__ == "__main__":
    sys.exit(main())
