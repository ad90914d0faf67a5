"""The user of a process, and connections as another user."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from deploy.stack.users import User


def owner_of(pid: int) -> int:
    """Return the user id of a process; its files in /proc stay root's after it has dropped root's rights."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("Uid:")[1].split()[1])


def connect_as(user: str, path: Path) -> str:
    """Connect to a Unix socket as `user`; return "connected" or the name of the error."""
    end, child = os.pipe(), os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(User.named(user).gid)
        os.setuid(User.named(user).uid)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
            outcome = "connected"
        except OSError as error:
            outcome = type(error).__name__
        os.write(end[1], outcome.encode())
        os._exit(0)
    os.waitpid(child, 0)
    outcome = os.read(end[0], 100).decode()
    os.close(end[0])
    os.close(end[1])
    return outcome
