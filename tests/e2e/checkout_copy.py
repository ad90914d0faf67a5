"""A second checkout for tests, with a space in its path, run by a Python that every user can execute."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from deploy.stack.users import User, first_blocked
from tests.support.stacks import CHECKOUT

CODE = ("app", "client", "deploy", "nginx", "supervisor", "triton_repo")
LIBRARY = "libpython3.11.so.1.0"


def copy_checkout(target: Path, user: User) -> Path:
    """Copy the code to `target`, with a venv that `user` can run and that shares this one's packages.

    Skips the test where `user` cannot reach those packages, or no Python of its own.
    """
    packages = Path(sysconfig.get_path("purelib"))
    for needed in (packages, CHECKOUT):
        if blocked := first_blocked(user, [needed]):
            pytest.skip(f"{user.name} cannot enter {blocked}")
    for name in CODE:
        shutil.copytree(CHECKOUT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    (target / ".runtime").mkdir()
    (target / ".runtime" / "triton").symlink_to(CHECKOUT / ".runtime" / "triton")
    subprocess.run([_python(user), "-m", "venv", "--without-pip", target / ".venv"], check=True, timeout=60)
    own = target / ".venv" / "lib" / "python3.11" / "site-packages"
    (own / "shared.pth").write_text(f"{packages}\n{target / 'client'}\n")
    return target


def _python(user: User) -> Path:
    for candidate in (Path("/usr/bin/python3.11"), Path(sys.executable).resolve()):
        if candidate.exists() and first_blocked(user, [candidate]) is None:
            return candidate
    pytest.skip(f"there is no Python 3.11 that {user.name} can run")
