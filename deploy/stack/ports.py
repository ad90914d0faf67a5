"""TCP ports of this machine: free ports, whether a port can be bound, and who listens."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from deploy.stack import processes

LISTENING = "0A"  # state TCP_LISTEN in /proc/net/tcp


class Listener(NamedTuple):
    """A listening socket; `pid` is 0 and `name` empty when its process belongs to another user."""

    host: str
    port: int
    pid: int
    name: str


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return `count` different ports that are free at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind((host, 0))
        return [bound.getsockname()[1] for bound in sockets]


def bind_error(host: str, port: int) -> str | None:
    """Return why `host`:`port` cannot be bound, or None when it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like nginx, bind despite TIME_WAIT
        try:
            trial.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def on_loopback(host: str) -> bool:
    """Return whether `host` (a name or an address, with or without brackets) is a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listeners() -> list[Listener]:
    """Return every listening TCP socket of this network namespace, once per process that holds it."""
    addresses = {}  # by the target of a descriptor
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if fields[3] == LISTENING:
                addresses[f"socket:[{fields[9]}]"] = _address(fields[1])
    owned = [
        (file, Listener(*addresses[file], process.pid, process.name))
        for process in processes.all_processes()
        for file in set(processes.open_files(process.pid)) & addresses.keys()
    ]
    owned_files = {file for file, _ in owned}
    foreign = [Listener(*address, 0, "") for file, address in addresses.items() if file not in owned_files]
    return [listener for _, listener in owned] + foreign


def holders(port: int) -> str:
    """Return the processes that listen on `port` as " by nginx (pid 12)"; empty when they are unknown."""
    names = sorted(
        {f"{listener.name} (pid {listener.pid})" for listener in listeners() if listener.port == port and listener.pid}
    )
    return f" by {', '.join(names)}" if names else ""


def _address(text: str) -> tuple[str, int]:
    """Parse an address of /proc/net/tcp: hexadecimal words in the machine's byte order."""
    host, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(host[start : start + 8])[::-1] for start in range(0, len(host), 8))
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw), int(port, 16)
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address), int(port, 16)
