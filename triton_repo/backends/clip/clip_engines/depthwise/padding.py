"""Padding of channels to multiples of 8, which is what tensor cores and wide loads take.

X3D's inner widths are 54 and 108. The added channels are zero from the product that makes them to the product that
reads them, so scores stay the same.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn.functional import pad

from ..graph_nodes import RELUS, SILUS, add_weight, argument, nodes, weight_of
from ..products import pointwise
from .rewrite import sizes_of

MULTIPLE = 8
GROUPS = 6  # place of the argument in a convolution
aten = torch.ops.aten
# Operators that work on each channel alone: padded inputs make padded outputs
CHANNELWISE = (*RELUS, *SILUS, aten.sigmoid.default, aten.mul.Tensor, aten.mean.dim)


class _CannotPadError(Exception):
    """The channels of a convolution reach an operator that cannot be padded."""


class _Plan:
    """The changes to a network that pad the channels of one depthwise convolution."""

    def __init__(self, network: GraphModule, conv: Node) -> None:
        self._network = network
        self.tensors: set[Node] = set()  # nodes with padded channels
        self.makers: set[Node] = set()  # products with more outputs
        self.readers: set[Node] = set()  # products with more inputs
        self.convs: set[Node] = set()  # depthwise convolutions
        self._add(conv)

    def _add(self, node: object) -> None:
        """Add a tensor with padded channels, with all that makes and reads it."""
        if not isinstance(node, Node):
            raise _CannotPadError
        if node in self.tensors:
            return
        self.tensors.add(node)
        if node.target is pointwise:
            self.makers.add(node)
        elif node.target in CHANNELWISE:
            for source in node.args[: 2 if node.target is aten.mul.Tensor else 1]:
                self._add(source)
        elif sizes_of(self._network, node) is not None:
            self.convs.add(node)
            self._add(node.args[0])
        else:
            raise _CannotPadError
        for user in node.users:
            if user.target is pointwise and user.args[0] is node:
                self.readers.add(user)
            else:
                self._add(user)


def pad_channels(network: GraphModule) -> int:
    """Pad the channels of depthwise convolutions between products; return how many convolutions were padded."""
    count, planned = 0, set[Node]()
    for conv in nodes(network, aten.conv3d.default):
        sizes = sizes_of(network, conv)
        if sizes is None or sizes.channels % MULTIPLE == 0 or conv in planned:
            continue
        try:
            plan = _Plan(network, conv)
        except _CannotPadError:
            continue
        planned |= plan.convs
        _apply(network, plan, -sizes.channels % MULTIPLE)
        count += len(plan.convs)
    return count


def _apply(network: GraphModule, plan: _Plan, added: int) -> None:
    for node in (*plan.makers, *plan.convs):
        _replace(network, node, 1, lambda weight: pad(weight, [0, 0] * (weight.ndim - 1) + [0, added]))
        if argument(node, 2) is not None:
            _replace(network, node, 2, lambda bias: pad(bias, [0, added]))
    for node in plan.convs:
        node.update_arg(GROUPS, argument(node, GROUPS) + added)
    for node in plan.readers:
        _replace(network, node, 1, lambda weight: pad(weight, [0, 0] * (weight.ndim - 2) + [0, added]))


def _replace(network: GraphModule, node: Node, place: int, change: Callable[[Tensor], Tensor]) -> None:
    weight = weight_of(network, node.args[place])
    assert weight is not None
    node.update_arg(place, add_weight(network, node, change(weight.detach())))
