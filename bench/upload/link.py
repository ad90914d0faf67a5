"""Links of a known upload rate: a network namespace shaped by the kernel where permitted, else a simulation."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal

from bench.upload.relay import relay

Kind = Literal["as it is", "netns", "simulated"]

WORDS = {
    "as it is": "the link as it is",
    "netns": "`tc` in a network namespace (token bucket)",
    "simulated": "a relay that holds bytes back (simulated)",
}
BITS_A_BYTE = 8


@dataclass(frozen=True)
class Link:
    """Path to the service over the link: start programs with `prefix`, and connect them to `url`."""

    url: str
    prefix: tuple[str, ...]


def best_kind() -> Kind:
    """Return `netns` if this process may create one and the kernel can shape traffic, else `simulated`."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("tc"):
        return "simulated"
    try:
        with _namespace(10.0, *_addresses()):
            return "netns"
    except subprocess.CalledProcessError:
        return "simulated"


@asynccontextmanager
async def link(kind: Kind, service: tuple[str, int], mbit: float | None) -> AsyncIterator[Link]:
    """Yield a link to `service` with an upload rate of `mbit` Mbit/s; raise CalledProcessError if that fails."""
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
    """Return two addresses of a 10.203.x.y/30 network, derived from the process number to avoid collisions."""
    high, low = divmod(os.getpid() % (1 << 14), 1 << 6)
    return f"10.203.{high}.{4 * low + 1}", f"10.203.{high}.{4 * low + 2}"


@contextmanager
def _namespace(mbit: float, address: str, address_inside: str) -> Iterator[str]:
    """Create a namespace whose only link carries `mbit` Mbit/s, and remove it at the end."""
    name = f"clipstack-{os.getpid()}"
    here, there = f"cs{os.getpid()}a", f"cs{os.getpid()}b"
    burst = max(32_000, round(mbit * 1e6 / BITS_A_BYTE / 250))  # bytes of one tick of a 250 Hz kernel
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
