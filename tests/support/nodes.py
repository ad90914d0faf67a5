"""Whole nodes, each in a network namespace of its own, and the load balancer in front of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from deploy.stack.ports import free_ports
from deploy.stack.stack import Stack
from tests.support.stacks import CHECKOUT, own_environment, until

NODE_PORT = 8080
START_S = 180
MODEL = "camera_motion"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10, capture_output=True)


class Network:
    """A switch in a namespace of its own, where this machine's firewall has no rules, and namespaces on its ports."""

    def __init__(self) -> None:
        self._mark = f"{os.getpid() % 65536:x}"
        self._prefix = f"10.213.{os.getpid() % 250}"
        self.gateway = f"{self._prefix}.1"  # this machine's own address
        self._switch = f"clipstack-{self._mark}"
        self._namespaces = [self._switch]
        self._own_link = f"cl{self._mark}"
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        self._connect("own", self._own_link)
        _ip("address", "add", f"{self.gateway}/24", "dev", self._own_link)
        _ip("link", "set", self._own_link, "up")

    def add(self, name: str) -> tuple[str, str]:
        """Add a namespace; return its name and its address."""
        namespace, address = f"{self._switch}-{name}", f"{self._prefix}.{len(self._namespaces) + 1}"
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        self._connect(name, "eth0", "netns", namespace)
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", link, "up")
        return namespace, address

    def _connect(self, port: str, *other_end: str) -> None:
        _ip("-n", self._switch, "link", "add", "name", port, "type", "veth", "peer", "name", *other_end)
        if len(other_end) == 1:
            _ip("-n", self._switch, "link", "set", "dev", *other_end, "netns", str(os.getpid()))
        _ip("-n", self._switch, "link", "set", "dev", port, "master", "switch", "up")

    def set(self, name: str, state: str) -> None:
        """Plug the cable of a namespace in (`up`) or out (`down`): packets vanish, and nothing answers."""
        _ip("-n", self._switch, "link", "set", "dev", name, state)

    def close(self) -> None:
        for namespace in self._namespaces:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", namespace)
        with suppress(subprocess.CalledProcessError):  # gone with the switch, as soon as nothing uses that
            _ip("link", "delete", self._own_link)


class NodeProcess:
    """A node: the whole stack with its own port, folders and network."""

    def __init__(self, name: str, network: Network, folder: Path, **settings: str) -> None:
        self.name, self._network = name, network
        self._namespace, host = network.add(name)
        self.address = f"{host}:{NODE_PORT}"
        self.spec = f"{name}={self.address}"
        self.folder = folder / name
        self.folder.mkdir(mode=0o755)
        shutil.copytree(CHECKOUT / "triton_repo" / "models" / MODEL, self.folder / "models" / MODEL)
        own = {"host": "0.0.0.0", "port": str(NODE_PORT), "keys": "off", "node": name, "web_workers": "1"}
        self.environment = own_environment(self.folder, **(own | settings))
        self.stack = Stack(CHECKOUT, self.environment)

    def command(self, action: str) -> list[str]:
        """The command that starts or stops the node from the machine's own network."""
        return ["nsenter", f"--net=/run/netns/{self._namespace}", sys.executable, "-m", "deploy.stack", action]

    def up(self) -> None:
        done = subprocess.run(
            self.command("up"), cwd=CHECKOUT, env=self.environment, timeout=START_S, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr + done.stdout

    def start(self) -> subprocess.Popen[bytes]:
        """Start the node and wait for nothing."""
        return subprocess.Popen(self.command("up"), cwd=CHECKOUT, env=self.environment, stdout=subprocess.DEVNULL)

    def down(self) -> None:
        self.stack.down()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the node, Supervisor first so that it restarts nothing."""
        pids = self.stack.processes()
        for pid in sorted(pids, key=lambda pid: "supervisor" not in pids[pid]):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill everything at once, as a power failure does."""

        def all_gone() -> bool:
            self.signal(signal.SIGKILL)
            return not self.stack.processes()

        until(all_gone, 20)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def cut(self) -> None:
        self._network.set(self.name, "down")

    def mend(self) -> None:
        self._network.set(self.name, "up")


class EdgeProcess:
    """The running load balancer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.pid = -1

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "deploy.edge", "--folder", str(self.folder), *arguments]

    def call(self, *arguments: str, timeout_s: float = 300) -> str:
        done = subprocess.run(self.command(*arguments), cwd=CHECKOUT, capture_output=True, text=True, timeout=timeout_s)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def condition(self, name: str) -> str:
        """Return the load balancer's condition of a node: `ready`, `not ready`, `away`, with `, drained`."""
        rows = [line.split(None, 2) for line in self.call("status").splitlines()]
        return next((row[2] for row in rows if row[0] == name), "")

    @contextmanager
    def running(self, *nodes: str, arguments: Sequence[str] = ()) -> Iterator[EdgeProcess]:
        """Run it in front of `nodes`, each `name=host:port`."""
        command = self.command("run", "--listen", f"127.0.0.1:{self.port}", *arguments, *nodes)
        with (self.folder.parent / "edge.log").open("wb") as log:
            program = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log)
        self.pid = program.pid
        try:
            until(lambda: (self.folder / "state.json").exists() or program.poll() is not None, 30)
            assert program.poll() is None, (self.folder.parent / "edge.log").read_text()
            yield self
        finally:
            program.terminate()
            program.wait(60)


def no_nodes() -> str:
    """Why nodes cannot run here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"clipstack-try-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error}"
    return "" if shutil.which("nsenter") else "no nsenter: install util-linux"


@contextmanager
def folder_and_network() -> Iterator[tuple[Path, Network]]:
    """A temporary folder that all users can enter, and a network."""
    if reason := no_nodes():
        pytest.skip(reason)
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="nodes-"))
        cleanup.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        network = Network()
        cleanup.callback(network.close)
        yield folder, network
