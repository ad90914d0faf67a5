"""Triton's backend processes, one per model instance."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from deploy.stack import processes

NAME = "triton_python_b"  # as truncated by the kernel


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
    return [
        BackendProcess(process.pid, _model(process.pid), process.dead, process.cpu_s)
        for process in processes.all_processes()
        if process.parent == server and process.name == NAME
    ]


def _model(pid: int) -> str:
    """Return the model version: the first argument is <models>/<name>/<version>/model.py."""
    arguments = processes.command_line(pid)[1:]
    return "@".join(Path(arguments[0]).parts[-3:-1]) if arguments else ""
