"""Three nodes behind a load balancer, with a Redis that they share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.support.api_keys import new_key
from tests.support.films import panning, write_video
from tests.support.nodes import EdgeProcess, Network, NodeProcess, folder_and_network
from tests.support.redis_server import running_redis
from tests.support.stacks import until

NAMES = ("a", "b", "c")


class Cluster(NamedTuple):
    """The nodes by their names, the load balancer, and what a further node needs."""

    nodes: dict[str, NodeProcess]
    edge: EdgeProcess
    network: Network
    folder: Path
    settings: dict[str, str]
    key: str

    def client(self, node: NodeProcess | None = None) -> httpx.Client:
        """A client with the key, of the load balancer or of one node."""
        url = f"http://{node.address}" if node else self.edge.url
        return httpx.Client(base_url=url, headers={"X-API-Key": self.key}, timeout=200)

    def share_keys(self, node: NodeProcess) -> None:
        """Give a node the keys of the first one, as an operator does."""
        source, target = self.nodes["a"].stack.settings.keys_file, node.stack.settings.keys_file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)

    def wait_ready(self) -> None:
        """Wait until the load balancer sends new work to all nodes."""
        until(lambda: all(self.edge.condition(name) == "ready" for name in self.nodes), 120)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with folder_and_network() as (folder, network), ExitStack() as cleanup:
        redis = cleanup.enter_context(running_redis(folder, network.gateway))
        # Addresses are given out in order, so they are known before the nodes are
        prefix = network.gateway.removesuffix("1")
        listed = ",".join(f"{name}={prefix}{number + 2}:8080" for number, name in enumerate((*NAMES, "d")))
        settings = {"nodes": listed, "redis_url": redis, "max_jobs": "1000", "keys": "required", "feedback": "on"}
        nodes = {name: NodeProcess(name, network, folder, **settings) for name in NAMES}
        for node in nodes.values():
            cleanup.callback(node.down)
        key = new_key(nodes["a"].stack, "tests", concurrent=64)
        edge = EdgeProcess(folder / "edge")
        cluster = Cluster(nodes, edge, network, folder, settings, key)
        for name in NAMES[1:]:
            cluster.share_keys(nodes[name])
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(NodeProcess.up, nodes.values()))
        cleanup.enter_context(edge.running(*(node.spec for node in nodes.values())))
        cluster.wait_ready()
        yield cluster


@pytest.fixture
def http(cluster: Cluster) -> Iterator[httpx.Client]:
    with cluster.client() as client:
        yield client


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", panning(45, 160, 120, step=1, seed=9)).read_bytes()


@pytest.fixture(scope="session")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """For jobs that take some seconds."""
    frames = panning(900, 160, 120, step=1, seed=9)
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", frames).read_bytes()
