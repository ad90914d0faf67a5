"""A network namespace with public and private addresses on its loopback, a name server, and a watch of all packets."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from app.fetch.addresses import is_public

PUBLIC, SECOND_PUBLIC, NAME_SERVER = "93.184.216.34", "93.184.216.35", "93.184.216.53"
PRIVATE = (
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "168.63.129.16"),
    *("fd00::1", "fd00:ec2::254"),
)
PORTS = (80, 443, 8000)
_ETH_P_ALL = 3
_SYN, _ACK = 0x02, 0x10


class Connection(NamedTuple):
    """One attempt to connect."""

    host: str
    port: int


def no_namespace() -> str:
    """Return why network namespaces are unavailable here; empty if they are available."""
    command = "ip link set lo up && mount --bind /dev/null /etc/resolv.conf"
    try:
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", command], capture_output=True, text=True, timeout=10
        )
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else f"no network namespace can be had here: {done.stderr.strip()[:100]}"


def set_up(resolv_conf: Path) -> None:
    """Give this process's own namespaces their addresses and their name server."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    for address in (PUBLIC, SECOND_PUBLIC, NAME_SERVER, *PRIVATE):
        length = 128 if ":" in address else 32
        subprocess.run(["ip", "address", "add", f"{address}/{length}", "dev", "lo"], check=True, timeout=10)
    resolv_conf.write_text(f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n")
    resolv_conf.chmod(0o644)
    subprocess.run(["mount", "--bind", resolv_conf, "/etc/resolv.conf"], check=True, timeout=10)


class PacketWatch:
    """Record every attempt of a TCP connection to an address that is not public."""

    def __init__(self, spared: set[int]) -> None:
        self._spared, self.seen = spared, list[Connection]()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.bind(("lo", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while packet := self._socket.recv(65536):
                begun = _connection(packet)
                if begun and begun.port not in self._spared and not is_public(ip_address(begun.host)):
                    self.seen.append(begun)

    def close(self) -> None:
        """End the watch; the thread ends with the process."""
        self._socket.close()


def _connection(packet: bytes) -> Connection | None:
    """Return the connection that a frame starts, None for all other frames."""
    (kind,) = struct.unpack_from("!H", packet, 12)
    if kind == 0x0800 and packet[23] == socket.IPPROTO_TCP:
        host, start = packet[30:34], 14 + 4 * (packet[14] & 15)
    elif kind == 0x86DD and packet[20] == socket.IPPROTO_TCP:
        host, start = packet[38:54], 54
    else:
        return None
    if packet[start + 13] & (_SYN | _ACK) != _SYN:
        return None
    return Connection(str(ip_address(host)), struct.unpack_from("!H", packet, start + 2)[0])


@contextmanager
def listeners() -> Iterator[list[Connection]]:
    """Listen on loopback and on the private addresses; yield the list of connections that arrive."""
    arrived: list[Connection] = []
    with ExitStack() as held:
        for host in ("127.0.0.1", "::1", *PRIVATE):
            for port in PORTS:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                listener = held.enter_context(socket.socket(family))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, port))
                listener.listen()
                threading.Thread(target=_accept, args=(listener, host, port, arrived), daemon=True).start()
        yield arrived


def _accept(listener: socket.socket, host: str, port: int, arrived: list[Connection]) -> None:
    with suppress(OSError):
        while True:
            listener.accept()[0].close()
            arrived.append(Connection(host, port))
