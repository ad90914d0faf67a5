"""The processes of one stack, found in /proc: also those whose supervisor is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "CLIPSTACK_STACK"  # variable that every process of a stack is started with; its value: the run folder


def of_stack(run_dir: Path) -> dict[int, str]:
    """Pid and name of every process of the stack in `run_dir`, but for this one."""
    mark = f"{MARK}={run_dir}".encode()
    groups = nginx_groups(run_dir)
    found = {}
    for pid in _pids():
        # nginx writes its title over its environment, so it is known by its process group
        if pid != os.getpid() and (mark in _environment(pid) or group_of(pid) in groups):
            found[pid] = name(pid)
    return {pid: word for pid, word in found.items() if word}


def nginx_groups(run_dir: Path) -> set[int]:
    """Process groups of every nginx that was started in `run_dir`, also of one that is only workers now.

    A master's title tells its configuration, before it has written its number and after; workers' titles tell nothing.
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


def unused(files: Iterable[Path]) -> list[Path]:
    """Return those of `files` that no process of this machine has open or mapped, as far as we may look."""
    wanted = {str(path): path for path in files}
    if not wanted:
        return []
    for pid in _pids():
        for opened in _open_files(pid):
            wanted.pop(opened, None)
    return list(wanted.values())


def _open_files(pid: int) -> Iterator[str]:
    """Yield the paths of every file that a process has open or mapped; nothing when it ended or is another user's."""
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # closed meanwhile
                yield os.readlink(f"/proc/{pid}/fd/{number}")
    for line in _read(pid, "maps").decode(errors="replace").splitlines():
        if "/" in line:
            yield line[line.index("/") :]


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
