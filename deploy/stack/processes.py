"""Processes of one stack, found even when their supervisor is gone."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "CLIPSTACK_STACK"  # environment variable of every process of a stack; its value is the run folder


def is_running(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def of_stack(run_dir: Path) -> dict[int, str]:
    """Return pid and name of every living process of the stack in `run_dir`, except this one."""
    nginx = of_nginx(run_dir)  # nginx overwrites its environment with its title
    return {
        process.pid: process.info["name"]
        for process in psutil.process_iter(["name", "environ"])
        if process.pid != os.getpid()
        and (process.pid in nginx or (process.info["environ"] or {}).get(MARK) == str(run_dir))
        and is_running(process.pid)
    }


def of_nginx(run_dir: Path) -> set[int]:
    """Return the processes of every nginx started in `run_dir`, including one whose master is dead.

    A master's title contains its configuration path, even before it has written its pid file. Titles of workers contain
    no path; their process group is that of their master.
    """
    config = f"{run_dir}/nginx/nginx.conf"
    groups = {process.pid: _group(process.pid) for process in psutil.process_iter()}
    nginx = [process for process in psutil.process_iter(["name", "cmdline"]) if process.info["name"] == "nginx"]
    titles = {process.pid: " ".join(process.info["cmdline"] or ()) for process in nginx}
    own = {groups.get(pid) for pid, title in titles.items() if config in title}
    others = {groups.get(pid) for pid, title in titles.items() if "master process" in title} - own
    with suppress(OSError, ValueError):
        own |= {int((run_dir / "nginx.pid").read_text())} & {groups.get(pid) for pid in titles} - others
    return {pid for pid, group in groups.items() if group in own - {None}}


def end(pids: Iterable[int], timeout_s: float) -> None:
    """Send SIGTERM to `pids`, and SIGKILL to those that still run after `timeout_s`."""
    pids = list(pids)
    _signal(pids, signal.SIGTERM)
    if not wait_until_gone(pids, timeout_s):
        _signal(pids, signal.SIGKILL)
        wait_until_gone(pids, 5)


def wait_until_gone(pids: Iterable[int], timeout_s: float) -> bool:
    """Wait until all of `pids` have ended; return False when `timeout_s` passes first."""
    return wait_until(lambda: not any(map(is_running, pids)), timeout_s)


def wait_until(condition: Callable[[], bool], timeout_s: float, poll_s: float = 0.05) -> bool:
    """Wait until the condition is met; return False when `timeout_s` passes first."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def unused(files: Iterable[Path]) -> list[Path]:
    """Return the `files` that no process has open or mapped, as far as this user may read /proc."""
    candidates = {str(path): path for path in files}
    for pid in psutil.pids() if candidates else ():
        for path in _used_by(Path("/proc", str(pid))):
            candidates.pop(path, None)
    return list(candidates.values())


def _used_by(process: Path) -> Iterator[str]:
    """Yield the files that a process has open or mapped; psutil needs seconds for the mapped ones."""
    with suppress(OSError):  # the process ended or belongs to another user
        yield from (
            line[line.index("/") :]
            for line in (process / "maps").read_text(errors="replace").splitlines()
            if "/" in line
        )
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):  # the descriptor was closed in the meantime
                yield str(descriptor.readlink())


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
