"""Run the commands of a documentation page against a stack of the tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.stack.stack import Stack
from tests.support.stacks import CHECKOUT

ADDRESS = "http://127.0.0.1:8080"  # as pages write it


def run(stack: Stack, command: str, folder: Path, **more: str) -> str:
    """Run a command in `folder` against the test's stack and return its output."""
    environment = {
        "CLIPSTACK_URL": stack.url,
        "PATH": f"{stack.python.parent}:/usr/bin:/bin",
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'client'}",
        **more,
    }
    words = command.replace(ADDRESS, stack.url).replace(".venv/bin/", f"'{stack.python.parent}'/")
    done = subprocess.run(
        words, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout
