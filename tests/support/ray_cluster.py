"""A Ray cluster of several raylets on this machine, each with the URL of a Clipstack of its own."""

from __future__ import annotations

import json
import os
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

    def __init__(self, arguments: Sequence[str], url: str, cores: set[int] | None) -> None:
        (agent_port,) = free_ports(1)
        command = [RAY_PYTHON.with_name("ray"), "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
        command += [f"--resources={json.dumps({'clipstack': 1})}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        command += ["--disable-usage-stats", f"--dashboard-agent-listen-port={agent_port}", *arguments]
        environment = {**os.environ, "CLIPSTACK_URL": url, "RAY_DISABLE_IMPORT_WARNING": "1"}
        self.process = subprocess.Popen(
            [*([] if cores is None else ["taskset", "-c", ",".join(map(str, cores))]), *command],
            env=environment,
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
    """The nodes and the address of the head."""

    def __init__(self, address: str, nodes: list[Node]) -> None:
        self.address, self.nodes = address, nodes

    def alive(self) -> int:
        """Return the number of nodes that have joined."""
        code = (
            "import json, sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False);"
            "print(sum(node['Alive'] for node in ray.nodes()))"
        )
        done = subprocess.run(
            [RAY_PYTHON, "-W", "ignore", "-c", code, self.address], capture_output=True, text=True, timeout=60
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
        cluster = Cluster(address, [])
        for number, url in enumerate(urls):
            arguments = [f"--address={address}"]
            if number == 0:
                arguments = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
            node = Node(arguments, url, None if cores is None else cores[number])
            resources.callback(node.kill)
            cluster.nodes.append(node)
            until(lambda: cluster.alive() == len(cluster.nodes), START_S)
        yield cluster
