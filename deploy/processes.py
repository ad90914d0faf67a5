"""The processes of one stack, found in /proc: also those whose supervisor is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

MARK = "CLIPSTACK_STACK"  # variable that every process of a stack is started with; its value: the run folder


def of_stack(run_dir: Path) -> dict[int, str]:
    """Pid and name of every process of the stack in `run_dir`, but for this one."""
    mark = f"{MARK}={run_dir}".encode()
    group = nginx_group(run_dir)
    found = {}
    for pid in _pids():
        # nginx writes its title over its environment, so it is known by its process group
        if pid != os.getpid() and (mark in _environment(pid) or (group and group_of(pid) == group)):
            found[pid] = name(pid)
    return {pid: word for pid, word in found.items() if word}


def nginx_group(run_dir: Path) -> int | None:
    """Process group of the nginx last started in `run_dir`; None when it has no members that are nginx."""
    try:
        master = int((run_dir / "nginx.pid").read_text())
    except (OSError, ValueError):
        return None
    members = [pid for pid in _pids() if group_of(pid) == master]
    return master if members and all(name(pid) == "nginx" for pid in members) else None


def end(pids: Iterable[int], patience_s: float) -> None:
    """Ask `pids` to end, and after `patience_s` kill those that have not."""
    pids = list(pids)
    _signal(pids, signal.SIGTERM)
    if not gone(pids, patience_s):
        _signal(pids, signal.SIGKILL)
        gone(pids, 5)


def gone(pids: Iterable[int], patience_s: float) -> bool:
    """Whether all of `pids` have ended before `patience_s` is over."""
    deadline = time.monotonic() + patience_s
    while any(name(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def name(pid: int) -> str:
    """The program's short name; empty when the process has ended (a zombie has)."""
    head, _, tail = _read(pid, "stat").decode(errors="replace").rpartition(")")
    return "" if not tail or tail.split()[0] in "ZX" else head.partition("(")[2]


def group_of(pid: int) -> int:
    """Its process group; 0 when the process has ended."""
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
        return b""  # ended, or another user's


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
