"""Identity of the process that restarts the job worker: Supervisor, or the container or machine around it."""

from __future__ import annotations

import os
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
START = 19  # field of /proc/<pid>/stat after the name: start time in ticks since boot


def parent_id() -> str:
    """Return an identity of the parent process that is unique across boots and reused PIDs.

    It is "" when the parent cannot be inspected; attempts then count as having the same parent.
    """
    parent = os.getppid()
    try:
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[START]
        return f"{BOOT.read_text().strip()}-{parent}-{started}"
    except (OSError, IndexError):
        return ""
