"""Ports of this machine: which are free, whether one can be listened on, and who listens."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from deploy.stack import processes

LISTENING = "0A"  # the kernel's number for it in /proc/net/tcp


class Listener(NamedTuple):
    """A socket that listens; `pid` is 0 and `name` empty when its process is another user's."""

    host: str
    port: int
    pid: int
    name: str


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that nobody listens on at this moment."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((host, 0))
        return [listener.getsockname()[1] for listener in listeners]


def why_not(host: str, port: int) -> str | None:
    """Why nobody can listen on `host`:`port` now, in words; None when it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as nginx: TIME_WAIT is no obstacle
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def on_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, also one in brackets, is this machine's alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listeners() -> list[Listener]:
    """Every TCP socket of this network namespace that listens; one that processes share stands there once for each."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == LISTENING:
                sockets[f"socket:[{fields[9]}]"] = _address(fields[1])
    owners: dict[str, list[int]] = {}
    for pid, link in _links():
        if link in sockets:
            owners.setdefault(link, []).append(pid)
    return [
        Listener(host, port, pid, processes.name(pid) if pid else "")
        for link, (host, port) in sockets.items()
        for pid in owners.get(link, [0])
    ]


def holder(port: int) -> str:
    """Who listens on `port`, in words that follow others: " by nginx (pid 12)"; empty when nobody can tell."""
    told = sorted({f"{each.name} (pid {each.pid})" for each in listeners() if each.port == port and each.pid})
    return f" by {', '.join(told)}" if told else ""


def _address(text: str) -> tuple[str, int]:
    """From the kernel's way to write it: words of the machine's own byte order, in hexadecimal."""
    host, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(host[start : start + 8])[::-1] for start in range(0, len(host), 8))
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw), int(port, 16)
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address), int(port, 16)


def _links() -> list[tuple[int, str]]:
    """Pid and target of every open descriptor that we may look at."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        with suppress(OSError):  # ended, or another user's
            for number in os.listdir(f"/proc/{entry}/fd"):
                with suppress(OSError):  # closed meanwhile
                    found.append((int(entry), os.readlink(f"/proc/{entry}/fd/{number}")))
    return found
