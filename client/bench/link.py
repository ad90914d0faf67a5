"""Links of a known upload rate: shaped by the kernel in a network namespace where that may be done, else simulated."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal

from client.bench.relay import relay

Kind = Literal["as it is", "netns", "simulated"]

WORDS = {
    "as it is": "the link as it is",
    "netns": "`tc` in a network namespace (token bucket)",
    "simulated": "a relay that holds bytes back (simulated)",
}
BITS_A_BYTE = 8


@dataclass(frozen=True)
class Link:
    """How to reach the service over it: start programs with `prefix`, and let them ask `url`."""

    url: str
    prefix: tuple[str, ...]


def best_kind() -> Kind:
    """`netns` where this program may make one and the kernel can shape, else `simulated`."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("tc"):
        return "simulated"
    try:
        with _namespace(10.0, *_addresses()):
            return "netns"
    except subprocess.CalledProcessError:
        return "simulated"


@asynccontextmanager
async def link(kind: Kind, service: tuple[str, int], mbit: float | None) -> AsyncIterator[Link]:
    """A link to `service` with an upload rate of `mbit` Mbit/s; CalledProcessError where it cannot be made."""
    if kind == "as it is" or mbit is None:
        yield Link(f"http://{service[0]}:{service[1]}", ())
    elif kind == "netns":
        here, there = _addresses()
        with _namespace(mbit, here, there) as name:
            async with relay(here, service) as port:
                yield Link(f"http://{here}:{port}", ("ip", "netns", "exec", name))
    else:
        async with relay("127.0.0.1", service, mbit * 1e6 / BITS_A_BYTE) as port:
            yield Link(f"http://127.0.0.1:{port}", ())


def _addresses() -> tuple[str, str]:
    """A network of two, 10.203.x.y/30, by the number of this process: no other one's."""
    high, low = divmod(os.getpid() % (1 << 14), 1 << 6)
    return f"10.203.{high}.{4 * low + 1}", f"10.203.{high}.{4 * low + 2}"


@contextmanager
def _namespace(mbit: float, address: str, address_inside: str) -> Iterator[str]:
    """A namespace whose one way out carries `mbit` Mbit/s; gone at the end."""
    name = f"clipstack-{os.getpid()}"
    here, there = f"cs{os.getpid()}a", f"cs{os.getpid()}b"
    burst = max(32_000, round(mbit * 1e6 / BITS_A_BYTE / 250))  # what goes at one tick of a kernel of 250 a second
    inside = f"ip netns exec {name}"
    steps = (
        f"ip netns add {name}",
        f"ip link add {here} type veth peer name {there}",
        f"ip link set {there} netns {name}",
        f"ip address add {address}/30 dev {here}",
        f"ip link set {here} up",
        f"{inside} ip address add {address_inside}/30 dev {there}",
        f"{inside} ip link set {there} up",
        f"{inside} ip link set lo up",
        f"{inside} tc qdisc add dev {there} root tbf rate {mbit:g}mbit burst {burst} latency 50ms",
    )
    try:
        for step in steps:
            subprocess.run(step.split(), check=True, capture_output=True, timeout=10)
        yield name
    finally:
        for step in (f"ip link delete {here}", f"ip netns delete {name}"):
            subprocess.run(step.split(), check=False, capture_output=True, timeout=10)
