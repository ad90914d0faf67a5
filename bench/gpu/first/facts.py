"""Facts of the machine that decide how Clipstack runs there."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from ctypes.util import find_library
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.environment import describe_machine
from bench.gpu.first.report import Report

LIBRARIES = (
    "libcuda.so",
    "libcuda.so.1",
    "libnvcuvid.so.1",
    "libnvidia-ml.so.1",
    "libnvrtc.so.13",
    "libpython3.12.so.1.0",
)
PACKAGES = ("torch", "numpy", "cuda-bindings", "nvidia-ml-py", "psutil", "tritonclient", "grpcio", "av", "decord2")
COMMANDS = {
    "nvidia_smi": ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.free,mig.mode.current,compute_mode,pstate", "--format=csv,noheader"],
    "processes": ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader"],
    "mounts": ["findmnt", "--noheadings", "--output", "TARGET,FSTYPE,SIZE,OPTIONS", "/dev/shm"],
    "limits": ["sh", "-c", "ulimit -l; ulimit -n"],
}  # fmt: skip


def run(report: Report, dry_run: bool) -> None:
    """Collect facts; none of them may stop the others."""
    report.add("machine", describe_machine() | {"kernel": platform.release(), "uid": os.geteuid()})
    report.add("python", {"version": platform.python_version(), "executable": sys.executable})
    report.add("packages", {name: _version(name) for name in PACKAGES})
    report.add("libraries", {name: _loads(name) for name in LIBRARIES})
    report.add("libpython", find_library(f"python3.{sys.version_info.minor}"))
    report.add("programs", {name: shutil.which(name) for name in ("unshare", "setpriv", "nvcc", "nvidia-smi", "strip")})
    for name, command in COMMANDS.items():
        report.add(name, _output(command))
    statistics = os.statvfs("/dev/shm")
    report.add("shm_mib", {"free": statistics.f_bavail * statistics.f_frsize >> 20})
    with report.part("discovery"):
        report.add("discovery", _discovered())
    with report.part("torch"):
        report.add("torch", _torch())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _loads(name: str) -> str:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)
    return "loads"


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout + done.stderr).strip()[:1000]


def _discovered() -> list[str] | str:
    from deploy.gpu import discovery

    try:
        return [str(gpu) for gpu in discovery.usable()]
    except discovery.NoGpu as error:
        return str(error)


def _torch() -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "available": torch.cuda.is_available(),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cudnn": torch.backends.cudnn.version(),
        }
    return facts
