"""The client installed by pip alone, into a clean environment of the service's Python; nightly has the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipstack_client import __version__
from deploy.stack.stack import Stack
from tests.support.client_environment import Environment
from tests.support.movements import film_movement


@pytest.mark.timeout(400)
def test_installed_client_classifies_a_video(stack: Stack, tmp_path: Path) -> None:
    check_installed_client(stack, tmp_path, "3.11")


def check_installed_client(stack: Stack, folder: Path, version: str) -> None:
    environment = Environment(folder, version)
    environment.install("./client")
    film_movement(folder / "clip.mp4", "pan_left")
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
