"""Processes of any Clipstack stack, of this checkout or an older one, grouped by their command lines."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# The first match decides: a decoder's command line also holds names of our modules
PARTS = (
    ("triton_python_backend_stub", "model process"),
    ("tritonserver", "triton"),
    ("multiprocessing", "decoders"),
    ("gunicorn", "web"),
    ("app.jobs", "jobs"),
    ("deploy.watchdog", "watchdog"),
    ("supervisord", "supervisord"),
    ("nginx", "nginx"),
)


def command_line(pid: int) -> str:
    """Return the command line with blanks as separators; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def part_of(command: str) -> str:
    """Return the part of the stack that a command line belongs to, or "other"."""
    return next((part for word, part in PARTS if word in command), "other")


def cpu_ticks(pid: int) -> int:
    """Return the processor time of a process in kernel ticks; 0 if it has ended."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def pss_mib(pid: int) -> float:
    """Return the proportional set size in MiB; 0 for a process that has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def session_members(leader: int) -> list[int]:
    """Return the processes of a session; all programs of a stack share supervisord's."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[3]) == leader and fields[0] not in "ZX"]


def cpu_seconds_by_part(leader: int, before: dict[int, int]) -> Counter[str]:
    """Return the processor seconds of each part of a session since `before`, a result of `ticks_of_session`."""
    seconds: Counter[str] = Counter()
    for pid, ticks in ticks_of_session(leader).items():
        seconds[part_of(command_line(pid))] += (ticks - before.get(pid, 0)) / TICKS_PER_S  # type: ignore[assignment]
    return seconds


def ticks_of_session(leader: int) -> dict[int, int]:
    """Return the processor time in kernel ticks of each process of a session."""
    return {pid: cpu_ticks(pid) for pid in session_members(leader)}


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
