"""Listening TCP sockets, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable


def is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0]
    return host == "0100007F" or host == "0000000000000000FFFF00000100007F"


def listeners() -> dict[str, str]:
    """Return inode and local address, in the kernel's format, of every listening TCP socket."""
    sockets = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for fields in (line.split() for line in list(lines)[1:]):
                if fields[3] == "0A":
                    sockets[fields[9]] = fields[1]
    return sockets


def sockets(pids: Iterable[int]) -> set[str]:
    ports = set()
    for pid in pids:
        try:
            links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        ports |= {link[8:-1] for link in links if link.startswith("socket:[")}
    return ports
