"""Virtual environments that have the client, installed by pip, and nothing of the service."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
LEFT_OUT = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")


class Environment:
    """A virtual environment in `folder`, where programs run."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder
        self.programs = folder / "venv" / "bin"
        shutil.copytree(CHECKOUT / "client", folder / "client", ignore=LEFT_OUT)
        self._run([find_python(version), "-m", "venv", "venv"], folder).check_returncode()

    def install(self, *packages: str) -> None:
        done = self.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        assert done.returncode == 0, done.stderr

    def run(self, program: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self._run([self.programs / program, *arguments], cwd or self.folder)

    @staticmethod
    def _run(command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def find_python(version: str) -> Path:
    """Return a Python of this version that can make environments; skip the test if there is none."""
    for folder in (*os.get_exec_path(), *Path.home().glob(f".pyenv/versions/{version}.*/bin")):
        python = Path(folder, f"python{version}")
        probe = [python, "-c", "import ensurepip, ssl"]
        if python.exists() and subprocess.run(probe, capture_output=True, timeout=30).returncode == 0:
            return python
    pytest.skip(f"this machine has no Python {version}")
