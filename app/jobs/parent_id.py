"""Who starts the job worker again when it dies, told apart from whoever did before: Supervisor, or what it runs in."""

from __future__ import annotations

import os
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
START = 19  # field of /proc/<pid>/stat behind the name: when it started, in ticks since the machine's start


def keeper() -> str:
    """This process's parent, as it is told apart from all that were before or will be after it."""
    parent = os.getppid()
    try:
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[START]
        return f"{BOOT.read_text().strip()}-{parent}-{started}"
    except (OSError, IndexError):
        return ""  # a parent that cannot be seen is taken for the same one
