"""A fresh clone of this checkout that shares the installed packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.stack.ports import free_ports
from tests.nightly.docs.snippets import ADDRESS, CHECKOUT, PORT
from triton_repo.zoo.names import BUILT_IN

PYTHON = Path("/usr/bin/python3.11")
SCRIPTS = ("clipstack", "clipstack-keys", "clipstack-models", "supervisorctl")
COMMAND_S = 150


class Clone:
    """A checkout with its own port, in whose folder commands run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        port = str(free_ports(1)[0])
        self.port, self.url = port, ADDRESS.replace(PORT, port)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLIPSTACK_", "PYTEST_", "MAKE", "MFLAGS"))  # variables of the test run
        }
        self.environment = kept | {
            "CLIPSTACK_PORT": port,
            "CLIPSTACK_URL": self.url,
        }

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command there and return the result."""
        return subprocess.run(
            ["bash", "-c", command.replace(ADDRESS, self.url)],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )


@contextmanager
def clone(folder: Path) -> Iterator[Clone]:
    """Copy all files that git tracks or would add to `folder`; stop what was started there afterwards."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (CHECKOUT / name).is_file():  # deleted files are listed until the commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    for model in BUILT_IN:
        shutil.copytree(
            CHECKOUT / "triton_repo" / "models" / model, folder / "triton_repo" / "models" / model, dirs_exist_ok=True
        )
    (folder / ".runtime").mkdir()
    (folder / ".runtime" / "triton").symlink_to(CHECKOUT / ".runtime" / "triton")
    shutil.copytree(CHECKOUT / ".runtime" / "stamps", folder / ".runtime" / "stamps")
    _make_venv(folder)
    made = Clone(folder)
    try:
        yield made
    finally:
        made.run("make down")


def _make_venv(folder: Path) -> None:
    """Make a venv with the packages of this checkout and the code of the clone."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder / ".venv"], check=True, timeout=60)
    packages = Path(sysconfig.get_path("purelib"))
    own = folder / ".venv" / "lib" / "python3.11" / "site-packages"
    (own / "clone.pth").write_text(f"{folder}\n{folder / 'client'}\n")
    for package in packages.iterdir():
        if not package.name.startswith("__editable__"):  # it would import this checkout's code
            (own / package.name).symlink_to(package)
    for name in SCRIPTS:
        script = (packages.parents[2] / "bin" / name).read_text()
        (folder / ".venv" / "bin" / name).write_text(f"#!{folder}/.venv/bin/python\n{script.partition(chr(10))[2]}")
        (folder / ".venv" / "bin" / name).chmod(0o755)
