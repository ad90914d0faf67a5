"""The client installed by pip alone, into a clean environment of every Python that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from app.settings import CHECKOUT
from clipstack_client import __version__
from deploy.stack.stack import Stack
from tests.support.movements import film_movement

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
LEFT_BEHIND = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")


class Environment:
    """A virtual environment that has the client and nothing of the service."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self._run(str(python), "-m", "venv", "venv")
        shutil.copytree(CHECKOUT / "client", folder / "client", ignore=LEFT_BEHIND)
        self._run("venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "./client")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(f"venv/bin/{arguments[0]}", *arguments[1:], check=False)

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
        return subprocess.run(
            arguments, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=check
        )


def find_python(version: str) -> Path:
    """Return a Python of this version that can make environments; skip the test if there is none."""
    for folder in (*os.get_exec_path(), *Path.home().glob(f".pyenv/versions/{version}.*/bin")):
        python = Path(folder, f"python{version}")
        probe = [python, "-c", "import ensurepip, ssl"]
        if python.exists() and subprocess.run(probe, capture_output=True, timeout=30).returncode == 0:
            return python
    pytest.skip(f"this machine has no Python {version}")


@pytest.fixture(params=VERSIONS)
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    return Environment(tmp_path, find_python(request.param))


@pytest.mark.timeout(400)
def test_installed_client_classifies_a_video(environment: Environment, stack: Stack, tmp_path: Path) -> None:
    film_movement(tmp_path / "clip.mp4", "pan_left")
    assert environment.run("clipstack", "--version").stdout == f"clipstack, version {__version__}\n"
    imported = environment.run("python", "-W", "error", "-c", "import clipstack_client as c; print(c.__version__)")
    assert (imported.stdout, imported.stderr) == (f"{__version__}\n", "")
    help_text = environment.run("clipstack", "--help").stdout
    assert "classify" in help_text
    assert environment.run("python", "-m", "clipstack_client", "--help").stdout == help_text
    classified = environment.run("clipstack", "classify", "--url", stack.url, "clip.mp4")
    assert (classified.returncode, "pan_left" in classified.stdout) == (0, True), classified.stderr
    shrunk = environment.run("clipstack", "classify", "--shrink", "--url", stack.url, "clip.mp4")
    assert (shrunk.returncode, "pip install './client[shrink]'" in shrunk.stderr) == (2, True), shrunk.stderr
    doctor = environment.run("clipstack", "doctor")
    assert (doctor.returncode, "the service is not installed here" in doctor.stderr) == (1, True), doctor.stderr
