"""Triton's backend processes, one an instance of a model, as the kernel knows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

NAME = "triton_python_b"  # as the kernel cuts it
TICKS = os.sysconf("SC_CLK_TCK")


class BackendProcess(NamedTuple):
    """The process of a version `model`, name@version, which is empty when it is dead; all its processor time."""

    pid: int
    model: str
    dead: bool
    cpu_s: float


def of_server(server: int) -> list[BackendProcess]:
    """Every backend process of the Triton with that pid. Its server never waits for one that died: that stays, dead."""
    found = (_stub(int(entry), server) for entry in os.listdir("/proc") if entry.isdecimal())
    return [stub for stub in found if stub]


def _stub(pid: int, server: int) -> BackendProcess | None:
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        state, parent, *fields = tail.split()
        if int(parent) != server or not head.endswith(f"({NAME}"):
            return None
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except (OSError, ValueError):
        return None  # ended while we looked
    # its first argument is <models>/<name>/<version>/model.py
    name, version = Path(words[1]).parts[-3:-1] if len(words) > 1 else ("", "")
    return BackendProcess(
        pid, f"{name}@{version}" if name else "", state == "Z", (int(fields[9]) + int(fields[10])) / TICKS
    )
