"""Model of a run on many nodes: which rate, and whether the cores, the bucket, the network or the head node limits it.

Every shared resource is a queue with one server. A node has `concurrency` places; each takes a file through the bucket's request
rate and latency, the network of all nodes, the node's own link, and the node's core, whose times are those of measured files.
The head node spends a measured time on each part.
"""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass

SEED = 1
BUSY = 0.85
PARTS_AT_ONCE = 2  # as client/clipstack_client/bulk/ray_engine.py


@dataclass(frozen=True)
class Cluster:
    """Resources that all nodes share, and those of each node.

    `latency_s` is the time to the first byte of an object, `head_part_s` that of the head node for a part.
    """

    requests_per_s: float
    latency_s: float
    network_bytes_per_s: float
    link_bytes_per_s: float
    head_part_s: float
    concurrency: int
    part_files: int


@dataclass(frozen=True)
class Outcome:
    """Files a second, and the share of the time that each resource was busy."""

    per_s: float
    busy: dict[str, float]

    @property
    def limit(self) -> str:
        """Return the busiest resource, or `latency` if none was busy for most of the time."""
        name, share = max(self.busy.items(), key=lambda item: item[1])
        return name if share >= BUSY else "latency"


class _Server:
    """A resource that serves one after the other; `busy_s` is the time that it worked."""

    def __init__(self) -> None:
        self.free_s = self.busy_s = 0.0

    def serve(self, arrives_s: float, takes_s: float) -> float:
        """Return when a request is done that arrives now."""
        self.free_s = max(self.free_s, arrives_s) + takes_s
        self.busy_s += takes_s
        return self.free_s


class _Node:
    """A node with its core and link, and the files of its parts that nobody has taken."""

    def __init__(self) -> None:
        self.core, self.link = _Server(), _Server()
        self.waiting: list[tuple[float, int]] = []  # when a part arrives, and its files that are left

    def take(self, now_s: float) -> float | None:
        """Take a file and return when it may begin; None if no part is left."""
        while self.waiting and self.waiting[0][1] == 0:
            self.waiting.pop(0)
        if not self.waiting:
            return None
        arrives_s, left = self.waiting[0]
        self.waiting[0] = (arrives_s, left - 1)
        return max(now_s, arrives_s)


def simulate(
    cluster: Cluster, nodes: int, files: int, file_bytes: float, core_s: Sequence[float], seed: int = SEED
) -> Outcome:
    """Return the rate of `nodes` nodes.

    Some thousand files a node give a steady rate. Each file gets a random one of the measured times `core_s`.
    """
    random_source = random.Random(seed)
    bucket, network, head = _Server(), _Server(), _Server()
    machines = [_Node() for _ in range(nodes)]
    parts = files // cluster.part_files
    places: list[tuple[float, int, int]] = []
    for number, node in enumerate(machines):
        for _ in range(PARTS_AT_ONCE):
            parts = _give_part(node, head, cluster, 0.0, parts)
        places += [(0.0, number * cluster.concurrency + place, number) for place in range(cluster.concurrency)]
    heapq.heapify(places)
    done, ended_s = 0, 0.0
    while places:
        now_s, place, number = heapq.heappop(places)
        node = machines[number]
        if len(node.waiting) <= PARTS_AT_ONCE - 1 or node.waiting[0][1] == 0:
            parts = _give_part(node, head, cluster, now_s, parts)
        begins_s = node.take(now_s)
        if begins_s is None:
            continue
        at_s = bucket.serve(begins_s, 1 / cluster.requests_per_s) + cluster.latency_s
        at_s = network.serve(at_s, file_bytes / cluster.network_bytes_per_s)
        at_s = node.link.serve(at_s, file_bytes / cluster.link_bytes_per_s)
        at_s = node.core.serve(at_s, random_source.choice(core_s))
        done, ended_s = done + 1, max(ended_s, at_s)
        heapq.heappush(places, (at_s, place, number))
    busy = {
        "cores": sum(node.core.busy_s for node in machines) / nodes / ended_s,
        "bucket": bucket.busy_s / ended_s,
        "network": network.busy_s / ended_s,
        "links": sum(node.link.busy_s for node in machines) / nodes / ended_s,
        "head node": head.busy_s / ended_s,
    }
    return Outcome(done / ended_s, busy)


def _give_part(node: _Node, head: _Server, cluster: Cluster, now_s: float, parts: int) -> int:
    """Have the head node give a part to a node, if there is one, and return the number of parts that are left."""
    if parts == 0:
        return 0
    node.waiting.append((head.serve(now_s, cluster.head_part_s), cluster.part_files))
    return parts - 1
