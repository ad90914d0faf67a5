"""Triton's backend processes, one per model instance."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

NAME = "triton_python_b"  # the kernel keeps 15 characters


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
    backends = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(server).children():
            with suppress(psutil.NoSuchProcess), child.oneshot():
                if child.name().startswith(NAME):
                    times = child.cpu_times()
                    dead = child.status() == psutil.STATUS_ZOMBIE
                    backends.append(BackendProcess(child.pid, _model(child), dead, times.user + times.system))
    return backends


def _model(process: psutil.Process) -> str:
    """Return the model version: the first argument is <models>/<name>/<version>/model.py."""
    with suppress(psutil.ZombieProcess):
        arguments = process.cmdline()[1:]
        return "@".join(Path(arguments[0]).parts[-3:-1]) if arguments else ""
    return ""
