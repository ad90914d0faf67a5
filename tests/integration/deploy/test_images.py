"""The images of deploy/Dockerfile hold every file that their programs need."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from app.settings import CHECKOUT

COPIED = re.compile(r"^COPY ((?:app|deploy|nginx|supervisor|triton_repo)\b.*)", re.M)
PROGRAMS = ("container.entrypoint", "container.healthcheck", "doctor.__main__", "stack.launch", "watchdog.__main__")


@pytest.fixture(params=["web", "triton"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The project's files that a stage of the Dockerfile copies into its image."""
    stages = re.split(r"^FROM ", (CHECKOUT / "deploy" / "Dockerfile").read_text(), flags=re.M)
    (stage,) = [stage for stage in stages if re.match(rf"\S+ AS {request.param}\n", stage)]
    for words in COPIED.findall(stage):
        *sources, target = words.split()
        for source in (path for pattern in sources for path in CHECKOUT.glob(pattern)):
            place = tmp_path / target if source.is_dir() else tmp_path / target / source.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, place, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, place)
    (tmp_path / ".venv").mkdir(exist_ok=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.11.2\n")
    return tmp_path


def run(image: Path, code: str) -> str:
    """Run Python code that sees only the image's files and the installed packages; return its output."""
    environment = {"PYTHONPATH": f"{image}:{sysconfig.get_path('purelib')}", "CLIPSTACK_RUN_DIR": str(image / "run")}
    command = [sys.executable, "-S", "-B", "-c", code]
    done = subprocess.run(command, cwd=image, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return done.stdout


def test_programs_find_their_modules(image: Path) -> None:
    names = [f"deploy.{name}" for name in PROGRAMS]
    assert run(image, f"import importlib; print(*map(importlib.import_module, {names}))")


def test_the_doctor_runs(image: Path) -> None:
    report = json.loads(run(image, "from deploy.doctor.__main__ import main; main(['--json'])"))
    issues = {finding["fault"] for check in report["checks"] for finding in check["findings"]}
    assert "check failed" not in issues, report
