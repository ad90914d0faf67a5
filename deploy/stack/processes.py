"""Processes of one stack, found in /proc even when their supervisor is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MARK = "CLIPSTACK_STACK"  # environment variable of every process of a stack; its value is the run folder
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """State of one process.

    Attributes:
        name: Short name, as truncated by the kernel to 15 characters.
        dead: Whether it is a zombie.
        parent: Process id of its parent.
        group: Process group.
        cpu_s: CPU time since its start, in seconds.
        started_s: When it started, in seconds of CLOCK_BOOTTIME.
    """

    pid: int
    name: str
    dead: bool
    parent: int
    group: int
    cpu_s: float
    started_s: float


def process(pid: int) -> Process | None:
    """Return the state of a process, or None when it has ended (proc_pid_stat(5))."""
    head, _, tail = _read(pid, "stat").decode(errors="replace").rpartition(")")
    fields = tail.split()
    if not fields:
        return None
    cpu_ticks, started = int(fields[11]) + int(fields[12]), int(fields[19]) / TICKS_PER_S
    name = head.partition("(")[2]
    return Process(pid, name, fields[0] in "ZX", int(fields[1]), int(fields[2]), cpu_ticks / TICKS_PER_S, started)


def all_processes() -> list[Process]:
    """Return every process of this pid namespace."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [state for pid in pids if (state := process(pid))]


def is_running(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    state = process(pid)
    return bool(state and not state.dead)


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; empty when it has ended."""
    text = _read(pid, "cmdline").decode(errors="replace").rstrip("\0")
    return text.split("\0") if text else []


def of_stack(run_dir: Path) -> dict[int, str]:
    """Return pid and name of every living process of the stack in `run_dir`, except this one."""
    mark = f"{MARK}={run_dir}".encode()
    groups = nginx_groups(run_dir)
    # nginx overwrites its environment with its title, so its process group identifies it.
    return {
        process.pid: process.name
        for process in all_processes()
        if process.pid != os.getpid()
        and not process.dead
        and (process.group in groups or mark in _read(process.pid, "environ").split(b"\0"))
    }


def nginx_groups(run_dir: Path) -> set[int]:
    """Return the process groups of every nginx started in `run_dir`, including one whose master is dead.

    A master's title contains its configuration path, even before it has written its pid file. Titles of workers contain
    no path.
    """
    config = f"{run_dir}/nginx/nginx.conf"
    titles = {process: " ".join(command_line(process.pid)) for process in all_processes() if process.name == "nginx"}
    groups = {process.group for process, title in titles.items() if config in title}
    others = {process.group for process, title in titles.items() if "master process" in title} - groups
    try:
        last = int((run_dir / "nginx.pid").read_text())
    except (OSError, ValueError):
        return groups
    return groups | ({last} & {process.group for process in titles} - others)


def end(pids: Iterable[int], timeout_s: float) -> None:
    """Send SIGTERM to `pids`, and SIGKILL to those that still run after `timeout_s`."""
    pids = list(pids)
    _signal(pids, signal.SIGTERM)
    if not wait_until_gone(pids, timeout_s):
        _signal(pids, signal.SIGKILL)
        wait_until_gone(pids, 5)


def wait_until_gone(pids: Iterable[int], timeout_s: float) -> bool:
    """Wait until all of `pids` have ended; return False when `timeout_s` passes first."""
    deadline = time.monotonic() + timeout_s
    while any(map(is_running, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def unused(files: Iterable[Path]) -> list[Path]:
    """Return the `files` that no process has open or mapped, as far as this user may read /proc."""
    candidates = {str(path): path for path in files}
    if not candidates:
        return []
    for process in all_processes():
        maps = _read(process.pid, "maps").decode(errors="replace").splitlines()
        for path in (*open_files(process.pid), *(line[line.index("/") :] for line in maps if "/" in line)):
            candidates.pop(path, None)
    return list(candidates.values())


def open_files(pid: int) -> Iterator[str]:
    """Yield the target of every open descriptor of a process; nothing when this user may not read them."""
    with suppress(OSError):
        for descriptor in Path("/proc", str(pid), "fd").iterdir():
            with suppress(OSError):  # the descriptor was closed in the meantime
                yield str(descriptor.readlink())


def _read(pid: int, file: str) -> bytes:
    try:
        return Path("/proc", str(pid), file).read_bytes()
    except OSError:
        return b""  # the process ended or belongs to another user


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
