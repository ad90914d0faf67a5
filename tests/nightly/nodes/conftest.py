"""Three nodes behind a load balancer, with a Redis that they share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

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
        settings = {"nodes": listed, "redis_url": redis, "max_jobs": "1000"}
        nodes = {name: NodeProcess(name, network, folder, **settings) for name in NAMES}
        for node in nodes.values():
            cleanup.callback(node.down)
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(NodeProcess.up, nodes.values()))
        edge = cleanup.enter_context(EdgeProcess(folder / "edge").running(*(node.spec for node in nodes.values())))
        cluster = Cluster(nodes, edge, network, folder, settings)
        cluster.wait_ready()
        yield cluster


@pytest.fixture
def http(cluster: Cluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cluster.edge.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", panning(45, 160, 120, step=1, seed=9)).read_bytes()


@pytest.fixture(scope="session")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """For jobs that take some seconds."""
    frames = panning(900, 160, 120, step=1, seed=9)
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", frames).read_bytes()
