"""TCP ports of this machine: free ports, whether a port can be bound, and who listens."""

import socket
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from typing import NamedTuple

import psutil


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
    """Return every listening TCP socket of this network namespace, with the first process that holds it."""
    sockets = [entry for entry in psutil.net_connections("tcp") if entry.status == psutil.CONN_LISTEN]
    return [Listener(entry.laddr.ip, entry.laddr.port, entry.pid or 0, _name(entry.pid)) for entry in sockets]


def holders(port: int) -> str:
    """Return the processes that listen on `port` as " by nginx (pid 12)"; empty when they are unknown."""
    names = sorted(
        {f"{listener.name} (pid {listener.pid})" for listener in listeners() if listener.port == port and listener.pid}
    )
    return f" by {', '.join(names)}" if names else ""


def _name(pid: int | None) -> str:
    with suppress(psutil.Error):
        return str(psutil.Process(pid).name()) if pid else ""
    return ""
