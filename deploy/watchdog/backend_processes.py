"""Triton's backend processes, one per model instance, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

NAME = "triton_python_b"  # as truncated by the kernel
TICKS = os.sysconf("SC_CLK_TCK")


class BackendProcess(NamedTuple):
    """One backend process.

    Attributes:
        pid: Process id.
        model: Model version as name@version; empty when the process is dead.
        dead: Whether it is a zombie.
        cpu_s: CPU time since its start, in seconds.
    """

    pid: int
    model: str
    dead: bool
    cpu_s: float


def of_server(server: int) -> list[BackendProcess]:
    """Return every backend process of the Triton with pid `server`.

    Triton never reaps its dead children, so they stay in the list as zombies.
    """
    processes = (_stub(int(entry), server) for entry in os.listdir("/proc") if entry.isdecimal())
    return [process for process in processes if process]


def _stub(pid: int, server: int) -> BackendProcess | None:
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        state, parent, *fields = tail.split()
        if int(parent) != server or not head.endswith(f"({NAME}"):
            return None
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except (OSError, ValueError):
        return None  # the process ended in the meantime
    # The first argument is <models>/<name>/<version>/model.py.
    name, version = Path(words[1]).parts[-3:-1] if len(words) > 1 else ("", "")
    return BackendProcess(
        pid, f"{name}@{version}" if name else "", state == "Z", (int(fields[9]) + int(fields[10])) / TICKS
    )
