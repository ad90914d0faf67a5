"""Helpers for reading and changing the graph of an exported program."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv2d.default, aten.conv3d.default)
RELUS = (aten.relu.default, aten.relu_.default)
SILUS = (aten.silu.default, aten.silu_.default)


def nodes(network: GraphModule, *targets: Callable[..., object]) -> list[Node]:
    """Return the calls of these functions, in their order."""
    return [node for node in network.graph.nodes if node.op == "call_function" and node.target in targets]


def argument(node: Node, place: int, default: Any = None) -> Any:
    """Return a positional argument, or its default."""
    return node.args[place] if len(node.args) > place else default


def weight_of(network: GraphModule, node: object) -> Tensor | None:
    """Return the weight that a node stands for, or None."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value = operator.attrgetter(str(node.target))(network)
    return value.detach() if isinstance(value, Tensor) else None


def add_weight(network: GraphModule, before: Node, tensor: Tensor, prefix: str = "made") -> Node:
    """Return a node for a new weight."""
    count = sum(1 for name, _ in network.named_buffers() if name.startswith(f"{prefix}_"))
    name = f"{prefix}_{count}"
    network.register_buffer(name, tensor)
    with network.graph.inserting_before(before):
        return network.graph.get_attr(name)
