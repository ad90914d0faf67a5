"""Clients that others' generators make from the description of the API upload a file to the real stack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.conftest import CHECKOUT
from tests.support.movements import film_movement

HERE = Path(__file__).parent
MODULES = CHECKOUT / ".runtime" / "typescript" / "node_modules"
EXPECTED = (2, 3, "pan_left", "pan_left", "model_not_found")


def run(*command: str | Path, cwd: Path) -> str:
    """Return the command's standard output; fail the test if the command fails."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def summary(printed: str) -> tuple[int, int, str, str, str]:
    answer = json.loads(printed)
    form, raw = answer["form"], answer["raw"]
    return len(form), len(raw), form[0], raw[0], answer["code"]


def test_a_python_client_uploads(stack: Stack, tmp_path: Path) -> None:
    clip = film_movement(tmp_path / "clip.mp4", "pan_left")
    generator = Path(sys.executable).with_name("openapi-python-client")
    options = ("--url", f"{stack.url}/v1/openapi.json", "--meta", "none", "--output-path", tmp_path / "generated")
    run(generator, "generate", *options, cwd=tmp_path)
    shutil.copy(HERE / "upload.py", tmp_path)
    assert summary(run(sys.executable, "upload.py", stack.url, clip, cwd=tmp_path)) == EXPECTED


def test_a_typescript_client_compiles_and_uploads(stack: Stack, tmp_path: Path) -> None:
    if not MODULES.is_dir() or not shutil.which("node"):
        pytest.skip("Node.js and npm are not installed")
    clip = film_movement(tmp_path / "clip.mp4", "pan_left")
    (tmp_path / "node_modules").symlink_to(MODULES)
    for name in ("upload.ts", "package.json"):
        shutil.copy(HERE / name, tmp_path)
    programs = tmp_path / "node_modules" / ".bin"
    run(programs / "openapi-typescript", f"{stack.url}/v1/openapi.json", "-o", "schema.d.ts", cwd=tmp_path)
    strict = ("--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "--skipLibCheck")
    run(programs / "tsc", *strict, "upload.ts", cwd=tmp_path)
    assert summary(run("node", "upload.js", stack.url, clip, cwd=tmp_path)) == EXPECTED
