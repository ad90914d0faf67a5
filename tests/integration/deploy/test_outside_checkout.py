"""Commands of the service, installed without its checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from app.settings import CHECKOUT

PROGRAMS = {
    "clipstack-keys": "from app.auth.cli import main; main(['list'])",
    "clipstack-models": "from triton_repo.zoo.cli.main import main; main(['list'])",
    "clipstack doctor": "from deploy.doctor.__main__ import main; main([])",
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the service's packages, like an installation without -e."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("app", "deploy", "triton_repo"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "[0-9]*"))
    return folder


@pytest.mark.parametrize("command", PROGRAMS)
def test_command_refuses_with_one_sentence(packages: Path, command: str) -> None:
    path = f"{packages}:{sysconfig.get_path('purelib')}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAMS[command]],
        cwd=packages,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    sentence = f"{command}: this command needs a checkout of Clipstack: run .venv/bin/{command} there\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)
