"""The nodes of a load balancer, in one file of its folder; commands change it, and the running program follows it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from app.files import DamagedFile, file_lock, read_file, write_file
from app.settings.parsers import MAX_NODES, NODE_NAME, host_port

LOCK_WAIT_S = 5.0


class EdgeError(Exception):
    """A command cannot be done; the message is shown on the command line."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node: the address of its nginx, `host:port`, and whether it is drained, so that it gets no new work."""

    address: str
    drained: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """Address and certificate of the load balancer, its timeout for answers about files, and its nodes by name."""

    listen: str = "0.0.0.0:8080"  # noqa: S104  it is the service's public address
    tls_cert: str = ""
    tls_key: str = ""
    answer_s: int = 180
    nodes: Mapping[str, Node] = field(default_factory=dict)

    def with_node(self, name: str, node: Node) -> Edge:
        """Return the edge with one more node, or with a changed one."""
        if len({*self.nodes, name}) > MAX_NODES:
            raise EdgeError(f"there may be {MAX_NODES} nodes")
        return replace(self, nodes={**self.nodes, name: node})

    def without(self, name: str) -> Edge:
        """Return the edge without a node."""
        self.node(name)
        return replace(self, nodes={other: node for other, node in self.nodes.items() if other != name})

    def node(self, name: str) -> Node:
        """Return the node of this name; raises EdgeError."""
        if name not in self.nodes:
            raise EdgeError(f"there is no node {name!r}: the nodes are {', '.join(self.nodes) or 'none'}")
        return self.nodes[name]


def parse_node(text: str) -> tuple[str, Node]:
    """Return the name and the node of `a=10.0.0.1:8080`; raises EdgeError."""
    name, _, address = text.partition("=")
    if not NODE_NAME.fullmatch(name):
        raise EdgeError(f"{text!r} is not a node: write a=10.0.0.1:8080, the name with 1 to 12 letters and digits")
    try:
        return name, Node(host_port(address))
    except ValueError as error:
        raise EdgeError(f"{text!r}: the address {error}") from error


def parse_nodes(texts: Iterable[str]) -> dict[str, Node]:
    """Return the nodes of several texts by their names; raises EdgeError."""
    return dict(map(parse_node, texts))


class EdgeFile:
    """The file of the nodes in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "nodes.json"

    def read(self) -> Edge:
        """Return the edge; raises EdgeError."""
        try:
            content = json.loads(read_file(self.path))
            nodes = {name: Node(**node) for name, node in content.pop("nodes").items()}
            return Edge(**content, nodes=nodes)
        except FileNotFoundError:
            raise EdgeError(
                f"{self.path} does not exist: start with `python -m deploy.edge run NAME=HOST:PORT`"
            ) from None
        except (OSError, DamagedFile, ValueError, TypeError, KeyError, AttributeError) as error:
            raise EdgeError(f"{self.path} cannot be used: {error}") from error

    def write(self, edge: Edge) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.path, json.dumps(asdict(edge), indent=1).encode(), durable=True)

    @contextmanager
    def changing(self) -> Iterator[Edge]:
        """Yield the edge, while no other command changes it."""
        try:
            with file_lock(self.path.with_suffix(".lock"), LOCK_WAIT_S):
                yield self.read()
        except TimeoutError:
            raise EdgeError("another command is changing the nodes: try again") from None
