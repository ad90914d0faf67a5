"""The processes of a stack, and signals to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.stack import processes
from deploy.stack.stack import Stack
from tests.support.leaks import descendants, parents
from tests.support.stack_state import pid_of


def children(pid: int) -> list[int]:
    return sorted(child for child, parent in parents().items() if parent == pid)


def web_workers(stack: Stack) -> list[int]:
    """Return gunicorn's workers: the children of its master."""
    return children(pid_of(stack, "web"))


def nginx_workers(stack: Stack) -> list[int]:
    return children(pid_of(stack, "nginx"))


def decoders(worker: int) -> set[int]:
    """Return the decoder processes of a web worker: children of its fork server."""
    return descendants(worker) - set(children(worker))


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        assert pid > 1, "Supervisor reports pid 0 for a stopped program, and kill() takes it for the process group"
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """Stop the processes with SIGSTOP for the block, then continue those that still exist."""
    pids = list(pids)
    send(signal.SIGSTOP, pids)
    try:
        yield
    finally:
        send(signal.SIGCONT, pids)


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU time of the processes in seconds."""
    ticks = 0
    for pid in pids:
        with suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def alive(pid: int) -> bool:
    return processes.is_running(pid)
