"""Stacks in a mount namespace with small file systems, which tests can fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.stack import Stack
from tests.support.stacks import CHECKOUT

FILLING = "filling"
ALMOST_KIB = 1024  # other programs may have removed files meanwhile


def no_enclosure() -> str:
    """Return why mount namespaces are unavailable here; empty if they are available."""
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, timeout=10
    )
    return "" if tried.returncode == 0 else f"no mount namespace can be had here: {tried.stderr.strip()[:100]}"


@dataclass(frozen=True)
class Enclosure:
    """A mount namespace; `folders` maps folders of a stack to the size of their tmpfs, or to "ro"."""

    folders: Callable[[Stack], Mapping[Path, str]]

    def start(self, stack: Stack) -> None:
        """Start the stack; raises CalledProcessError with `stderr` if it refuses."""
        mounts = []
        for folder, size in self.folders(stack).items():
            folder.mkdir(parents=True, exist_ok=True)
            kind = "ro" if size == "ro" else f"size={size}"
            mounts.append(f"mount -t tmpfs -o {kind} tmpfs {folder}")
        command = " && ".join([*mounts, f"exec {stack.python} -m deploy.stack up"])
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", command],
            cwd=CHECKOUT,
            env=os.environ | stack.settings.environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=170,
        )

    def inside(self, stack: Stack, command: str) -> str:
        """Run a shell command in the namespace and return its output."""
        number = (stack.run_dir / "supervisord.pid").read_text().strip()
        done = subprocess.run(
            ["nsenter", "--mount", "--target", number, "sh", "-c", command], capture_output=True, text=True, timeout=30
        )
        return done.stdout

    def fill(self, stack: Stack, folder: Path) -> None:
        """Fill the file system of `folder`."""
        self.inside(stack, f"cat /dev/zero > {folder}/{FILLING}")
        free = int(self.inside(stack, f"df --output=avail {folder} | tail -1"))
        assert free < ALMOST_KIB, f"{free} KiB are still free"

    def empty(self, stack: Stack, folder: Path) -> None:
        self.inside(stack, f"rm -f {folder}/{FILLING}")
