"""A checkout and a run folder without findings, in which tests plant faults."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from app.settings import CHECKOUT, Settings
from deploy.doctor.check import Check, KnownIssue
from deploy.doctor.context import Context
from deploy.doctor.runner import run_checks
from deploy.stack.ports import free_ports
from deploy.stack.supervisor import Program

COPIED = ("nginx", "supervisor", "deploy/gunicorn/config.py", "deploy/triton-wheel.txt", "pyproject.toml")
CONFIG = """
name: "camera" backend: "clip"
input [ { name: "CLIP" data_type: TYPE_UINT8 dims: [ 8, 56, 56, 3 ] } ]
output [ { name: "SCORES" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
"""


def healthy(folder: Path, **settings: object) -> Context:
    """Return a healthy context of a stopped stack in `folder`, with these settings."""
    checkout = folder / "checkout"
    _write_checkout(checkout)
    write_model(folder / "models" / "camera")
    (folder / "run").mkdir()
    return context(checkout, folder, **settings)


def context(checkout: Path, folder: Path, **settings: object) -> Context:
    port, metrics = free_ports(2)
    values = {
        "port": port,
        "triton_metrics_port": metrics,
        "model": "camera",
        "model_dir": folder / "models",
        "run_dir": folder / "run",
    } | settings
    environment = {f"CLIPSTACK_{name.upper()}": str(value) for name, value in values.items()}
    return Context(Settings.from_environment(environment), environment, checkout)


def running(context: Context, **pids: int) -> Context:
    """Return the context as if Supervisor ran these programs."""
    programs = {name: Program("RUNNING", pid, 0) for name, pid in pids.items()}
    return replace(context, programs=programs)


def named(name: str, module: ModuleType) -> list[Check]:
    """Return the check of that name, as a list."""
    (check,) = [check for check in module.CHECKS if check.name == name]
    return [check]


def found(context: Context, checks: Sequence[Check]) -> set[str]:
    """Return the names of the faults that `checks` find."""
    reports = run_checks(context, checks)
    return {finding.issue for report in reports for finding in report.findings if finding.issue}


def words(context: Context, checks: Sequence[Check], fault: KnownIssue) -> str:
    """Return the text of one finding and its fix."""
    findings = [
        finding for report in run_checks(context, checks) for finding in report.findings if finding.issue == fault.name
    ]
    return "\n".join(f"{finding.message}: {finding.fix}" for finding in findings)


def write_model(folder: Path) -> None:
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "labels.txt").write_text("left\nright\n")
    (folder / "1" / "model.xml").write_text('<data offset="0" size="64" /><data offset="64" size="16" />')
    (folder / "1" / "model.bin").write_bytes(bytes(80))


def distribution(context: Context, name: str, version: str, *requires: str) -> Path:
    """Write the metadata of an installed package, without its code."""
    folder = context.packages / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    return folder


def altered(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@contextmanager
def program(*command: object, **options: Any) -> Iterator[int]:
    """Run a process for the block; yields its pid."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options)
    try:
        deadline = time.monotonic() + 10
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # it is empty during exec
            assert time.monotonic() < deadline
        yield process.pid
    finally:
        process.kill()
        process.wait(timeout=10)


@contextmanager
def file_system(options: str) -> Iterator[Path]:
    """Mount a small tmpfs; raises OSError if that is not possible."""
    folder = Path(tempfile.mkdtemp(prefix="small-"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, timeout=10)
    try:
        if done.returncode:
            raise OSError(done.stderr.decode())
        yield folder
    finally:
        subprocess.run(["umount", folder], capture_output=True, timeout=10)
        folder.rmdir()


def _write_checkout(checkout: Path) -> None:
    for name in COPIED:
        source, target = CHECKOUT / name, checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    for name in ("bin", "backends/python", "backends/clip"):
        (checkout / ".runtime" / "triton" / name).mkdir(parents=True)
    triton = checkout / ".runtime" / "triton"
    (triton / "bin" / "tritonserver").write_bytes(b"a server")
    (triton / "backends" / "python" / "triton_python_backend_stub").write_bytes(b"needs libpython3.11.so.1.0")
    for name in ("bin/tritonserver", "backends/python/triton_python_backend_stub"):
        (triton / name).chmod(0o755)
    for name in ("backends/python/libtriton_python.so", "backends/clip/model.py"):
        (triton / name).touch()
    zoo = checkout / "triton_repo" / "zoo"
    (zoo / "weights").mkdir(parents=True)
    (zoo / "architectures").mkdir()
    shutil.copy(CHECKOUT / "triton_repo" / "zoo" / "architectures" / "torchvision_cpu.py", zoo / "architectures")
    for name in ("camera_motion", "frame_quality"):
        (zoo / "weights" / f"{name}.safetensors").write_bytes(bytes(64))
    for name in ("app/static", "deploy", ".venv/bin", ".venv/lib/python3.11/site-packages"):
        (checkout / name).mkdir(parents=True, exist_ok=True)
    for name in ("app/wsgi.py", "deploy/setup"):
        (checkout / name).touch()
    (checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.11.2\n")
    for name in ("python", "python3"):  # not links, by which Python would look for packages in this .venv
        path = checkout / ".venv" / "bin" / name
        path.write_text(f'#!/bin/sh\nexec "{CHECKOUT}/.venv/bin/python" "$@"\n')
        path.chmod(0o755)
