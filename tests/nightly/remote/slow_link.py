"""A link between two network namespaces that delays, loses or stops packets, through two TUN devices and a thread.

It does what `tc netem` does, and works where the kernel has no such queue. TCP sees real delays and real losses.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU = 1500
_PAUSE_S = 0.05  # longest wait of the thread, which then looks whether it must end


def run(*words: object, timeout: float = 10) -> str:
    """Run a command and return its output; an error shows what it said."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def unavailable() -> str:
    """Why there can be no link here; empty when there can."""
    if os.geteuid():
        return "only root can make network namespaces"
    if not shutil.which("ip"):
        return "`ip` is not installed (iproute2)"
    return "" if os.path.exists("/dev/net/tun") else "this kernel has no TUN devices"


@dataclass
class _Direction:
    """Packets on their way from one device to the other."""

    source: int
    target: int
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    sent_bytes: int = 0


class SlowLink:
    """Two namespaces and the link between them; the fields may change while it is in use.

    Attributes:
        delay_s: Delay of each packet, one way.
        loss: Share of the packets that are lost, in both directions.
        is_cut: Whether all packets are lost.
        names: Names of the namespaces.
        addresses: IPv4 address of each namespace on the link.
    """

    def __init__(self, names: tuple[str, str], addresses: tuple[str, str], devices: tuple[int, int]) -> None:
        self.names, self.addresses = names, addresses
        self.delay_s, self.loss, self.is_cut = 0.0, 0.0, False
        self._directions = [_Direction(*devices), _Direction(*reversed(devices))]
        self._random, self._ends = random.Random(1), False
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    @property
    def sent_bytes(self) -> tuple[int, int]:
        """Bytes of the packets that each namespace has sent; those that were lost count as well."""
        first, second = self._directions
        return first.sent_bytes, second.sent_bytes

    def set(self, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Change the link."""
        self.delay_s, self.loss = delay_s, loss

    def inside(self, side: int) -> tuple[str, ...]:
        """Return the words before a command that runs in a namespace, with a /dev/shm of its own."""
        script = 'mount -t tmpfs -o mode=1777,size=1g tmpfs /dev/shm && exec "$@"'
        return ("ip", "netns", "exec", self.names[side], "sh", "-c", script, "sh")

    def close(self) -> None:
        """End the thread."""
        self._ends = True
        self._thread.join()

    def _carry(self) -> None:
        while not self._ends:
            dues = [direction.waiting[0][0] for direction in self._directions if direction.waiting]
            wait_s = min([_PAUSE_S, *(due - time.monotonic() for due in dues)])
            readable, _, _ = select.select([way.source for way in self._directions], [], [], max(0.0, wait_s))
            for way in self._directions:
                if way.source in readable:
                    self._take(way)
                while way.waiting and way.waiting[0][0] <= time.monotonic():
                    with suppress(OSError):  # the device is going
                        os.write(way.target, way.waiting.popleft()[1])

    def _take(self, way: _Direction) -> None:
        """Take all packets that a device has, so that its queue does not overflow."""
        with suppress(BlockingIOError):
            while packet := os.read(way.source, _MTU):
                way.sent_bytes += len(packet)
                if not self.is_cut and self._random.random() >= self.loss:
                    way.waiting.append((time.monotonic() + self.delay_s, packet))


@contextmanager
def slow_link(first: str, second: str) -> Iterator[SlowLink]:
    """Make two namespaces, their names begin with `first` and `second`, and a link; remove all of it afterwards."""
    high, low = divmod(os.getpid() % (1 << 14), 1 << 6)
    addresses = tuple(f"10.205.{high}.{4 * low + number}" for number in (1, 2))
    names = tuple(f"{name}-{os.getpid()}" for name in (first, second))
    with ExitStack() as held:
        devices = []
        for number, (name, address) in enumerate(zip(names, addresses, strict=True)):
            run("ip", "netns", "add", name)
            held.callback(run, "ip", "netns", "delete", name)
            device = f"cl{os.getpid()}{'ab'[number]}"
            devices.append(_open_tun(device))
            held.callback(os.close, devices[-1])
            run("ip", "link", "set", device, "netns", name)
            run("ip", "-n", name, "address", "add", f"{address}/30", "dev", device)
            run("ip", "-n", name, "link", "set", device, "mtu", _MTU, "txqueuelen", 10_000, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        link = SlowLink((names[0], names[1]), (addresses[0], addresses[1]), (devices[0], devices[1]))
        held.callback(link.close)
        yield link


@contextmanager
def door(namespace: str) -> Iterator[str]:
    """Join a namespace with that of this process by a veth pair; yield the address inside."""
    high, low = divmod(os.getpid() % (1 << 14), 1 << 6)
    outside, inside = (f"10.206.{high}.{4 * low + number}" for number in (1, 2))
    device, peer = f"cd{os.getpid()}a", f"cd{os.getpid()}b"
    run("ip", "link", "add", device, "type", "veth", "peer", "name", peer, "netns", namespace)
    try:
        run("ip", "address", "add", f"{outside}/30", "dev", device)
        run("ip", "link", "set", device, "up")
        run("ip", "-n", namespace, "address", "add", f"{inside}/30", "dev", peer)
        run("ip", "-n", namespace, "link", "set", peer, "up")
        yield inside
    finally:
        run("ip", "link", "delete", device)


def _open_tun(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device
