"""A Ray cluster of several raylets on this machine, each with the URL of a Clipstack of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from deploy.stack.ports import free_ports
from tests.support.archives import RAY_PYTHON
from tests.support.stacks import until

OBJECT_STORE_BYTES = 80 << 20  # hardly more than Ray's minimum
START_S = 120


class Node:
    """One raylet with its workers; the head has the cluster's own programs too."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], url: str, cores: set[int] | None) -> None:
        (agent_port,) = free_ports(1)
        command = [str(RAY_PYTHON.with_name("ray")), "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
        command += [f"--resources={json.dumps({'clipstack': 1})}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        command += ["--disable-usage-stats", f"--dashboard-agent-listen-port={agent_port}", *arguments]
        if cores is not None:
            command = ["taskset", "-c", ",".join(map(str, cores)), *command]
        self.process = subprocess.Popen(
            command,
            env={**environment, "CLIPSTACK_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self) -> None:
        """Kill all its processes at once, as a machine that loses its power."""
        processes = [psutil.Process(self.process.pid)] if self.process.poll() is None else []
        processes += [child for process in processes for child in process.children(recursive=True)]
        for process in processes:
            process.kill()
        self.process.communicate(timeout=30)
        psutil.wait_procs(processes, timeout=30)


class Cluster:
    """The nodes, the address of the head, and the environment of drivers, with the token of the cluster."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.nodes: list[Node] = []
        rest = {name: value for name, value in os.environ.items() if not name.startswith("CLIPSTACK_")}
        own = {"TMPDIR": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = rest | own

    def alive(self) -> int:
        """Return the number of nodes that have joined."""
        code = (
            "import json, sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False);"
            "print(sum(node['Alive'] for node in ray.nodes()))"
        )
        done = subprocess.run(
            [RAY_PYTHON, "-W", "ignore", "-c", code, self.address],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return int(done.stdout) if done.returncode == 0 else 0


@contextmanager
def ray_cluster(urls: Sequence[str], cores: Sequence[set[int]] | None = None) -> Iterator[Cluster]:
    """Run a cluster with a node for each URL, on cores of its own if there are any given."""
    (port,) = free_ports(1)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the paths of sockets must be short
    address = f"127.0.0.1:{port}"
    with ExitStack() as resources:
        resources.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = Cluster(address, folder)
        for number, url in enumerate(urls):
            arguments = [f"--address={address}"]
            if number == 0:
                arguments = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
            node = Node(arguments, cluster.environment, url, None if cores is None else cores[number])
            resources.callback(node.kill)
            cluster.nodes.append(node)
            until(lambda: cluster.alive() == len(cluster.nodes), START_S)
        yield cluster
