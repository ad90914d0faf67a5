"""Processes of one stack, found in /proc even when their supervisor is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "CLIPSTACK_STACK"  # environment variable of every process of a stack; its value is the run folder


def of_stack(run_dir: Path) -> dict[int, str]:
    """Return pid and name of every process of the stack in `run_dir`, except this one."""
    mark = f"{MARK}={run_dir}".encode()
    groups = nginx_groups(run_dir)
    names = {}
    for pid in _pids():
        # nginx overwrites its environment with its title, so its process group identifies it.
        if pid != os.getpid() and (mark in _environment(pid) or group_of(pid) in groups):
            names[pid] = name(pid)
    return {pid: text for pid, text in names.items() if text}


def nginx_groups(run_dir: Path) -> set[int]:
    """Return the process groups of every nginx started in `run_dir`, including one whose master is dead.

    A master's title contains its configuration path, even before it has written its pid file. Titles of workers contain
    no path.
    """
    config = f"{run_dir}/nginx/nginx.conf".encode()
    nginx = {pid: group_of(pid) for pid in _pids() if name(pid) == "nginx"}
    titles = {pid: _read(pid, "cmdline") for pid in nginx}
    ours = {nginx[pid] for pid, title in titles.items() if config in title}
    others = {nginx[pid] for pid, title in titles.items() if b"master process" in title} - ours
    try:
        last = int((run_dir / "nginx.pid").read_text())
    except (OSError, ValueError):
        return ours
    return ours | ({last} & set(nginx.values()) - others)


def end(pids: Iterable[int], patience_s: float) -> None:
    """Send SIGTERM to `pids`, and SIGKILL to those that still run after `patience_s`."""
    pids = list(pids)
    _signal(pids, signal.SIGTERM)
    if not gone(pids, patience_s):
        _signal(pids, signal.SIGKILL)
        gone(pids, 5)


def gone(pids: Iterable[int], patience_s: float) -> bool:
    """Wait until all of `pids` have ended; return False when `patience_s` passes first."""
    deadline = time.monotonic() + patience_s
    while any(name(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def unused(files: Iterable[Path]) -> list[Path]:
    """Return the `files` that no process has open or mapped, as far as this user may read /proc."""
    candidates = {str(path): path for path in files}
    if not candidates:
        return []
    for pid in _pids():
        for opened in _open_files(pid):
            candidates.pop(opened, None)
    return list(candidates.values())


def _open_files(pid: int) -> Iterator[str]:
    """Yield the path of every file that a process has open or mapped; nothing when /proc is not readable."""
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # the descriptor was closed in the meantime
                yield os.readlink(f"/proc/{pid}/fd/{number}")
    for line in _read(pid, "maps").decode(errors="replace").splitlines():
        if "/" in line:
            yield line[line.index("/") :]


def name(pid: int) -> str:
    """Return the program's short name; empty when the process has ended or is a zombie."""
    head, _, tail = _read(pid, "stat").decode(errors="replace").rpartition(")")
    return "" if not tail or tail.split()[0] in "ZX" else head.partition("(")[2]


def group_of(pid: int) -> int:
    """Return the process group, or 0 when the process has ended."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[2]) if fields else 0


def _environment(pid: int) -> list[bytes]:
    return _read(pid, "environ").split(b"\0")


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path("/proc", str(pid), what).read_bytes()
    except OSError:
        return b""  # the process ended or belongs to another user


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
