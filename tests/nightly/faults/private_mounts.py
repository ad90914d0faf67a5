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
ALMOST_KIB = 1024  # others may have removed a file of theirs meanwhile


def no_enclosure() -> str:
    """Why it cannot be had here; empty when it can."""
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, timeout=10
    )
    return "" if tried.returncode == 0 else f"no mount namespace can be had here: {tried.stderr.strip()[:100]}"


@dataclass(frozen=True)
class Enclosure:
    """`folders` tells of a stack which folders are file systems of their own, with tmpfs's size, or "ro" of them."""

    folders: Callable[[Stack], Mapping[Path, str]]

    def start(self, stack: Stack) -> None:
        """As `stack.up()`; raises CalledProcessError, with what was said in `stderr`, when it refuses."""
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
        """What a shell says that sees what the stack sees."""
        number = (stack.run_dir / "supervisord.pid").read_text().strip()
        done = subprocess.run(
            ["nsenter", "--mount", "--target", number, "sh", "-c", command], capture_output=True, text=True, timeout=30
        )
        return done.stdout

    def fill(self, stack: Stack, folder: Path) -> None:
        """Until nothing more fits."""
        self.inside(stack, f"cat /dev/zero > {folder}/{FILLING}")
        free = int(self.inside(stack, f"df --output=avail {folder} | tail -1"))
        assert free < ALMOST_KIB, f"{free} KiB are still free"

    def empty(self, stack: Stack, folder: Path) -> None:
        self.inside(stack, f"rm -f {folder}/{FILLING}")
