"""Replacement of a network's depthwise convolutions."""

from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

from ..graph_nodes import RELUS, SILUS, add_weight, argument, nodes, weight_of
from .operator import NONE, RELU, SILU, Kernel, depthwise, is_possible

aten = torch.ops.aten


class Depthwise(NamedTuple):
    """Sizes of a depthwise convolution that the kernel can make."""

    channels: int
    kernel: Kernel
    stride: int


def sizes_of(network: GraphModule, conv: Node) -> Depthwise | None:
    """Return the sizes of a depthwise convolution; None for any other one, and for one that the kernel cannot make."""
    weight = weight_of(network, conv.args[1])
    if conv.target is not aten.conv3d.default or weight is None or weight.shape[1] != 1:
        return None
    channels, kernel = len(weight), (int(weight.shape[2]), int(weight.shape[3]), int(weight.shape[4]))
    stride, padding = _triple(argument(conv, 3, 1)), _triple(argument(conv, 4, 0))
    is_depthwise = argument(conv, 6, 1) == channels and _triple(argument(conv, 5, 1)) == (1, 1, 1)
    is_padded = padding == (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    is_strided = stride == (1, stride[1], stride[1])
    if not (is_depthwise and is_padded and is_strided and is_possible(channels, kernel, stride[1])):
        return None
    return Depthwise(channels, kernel, stride[1])


def _triple(value: Any) -> tuple[int, int, int]:
    first, *others = (value,) * 3 if isinstance(value, int) else tuple(value) * (3 if len(value) == 1 else 1)
    return (first, others[0], others[1])


def replace_depthwise(network: GraphModule) -> int:
    """Replace the depthwise convolutions, with an activation that follows them, and return their number."""
    count = 0
    for conv in nodes(network, aten.conv3d.default):
        sizes = sizes_of(network, conv)
        weight, bias = weight_of(network, conv.args[1]), weight_of(network, argument(conv, 2))
        if sizes is None or weight is None:
            continue
        activation = _activation(conv)
        taps = weight.detach().float().reshape(sizes.channels, -1).t().contiguous()
        offset = torch.zeros(sizes.channels, device=taps.device) if bias is None else bias.detach().float().clone()
        arguments = (add_weight(network, conv, taps, "depthwise"), add_weight(network, conv, offset, "depthwise"))
        kind = NONE if activation is None else SILU if activation.target in SILUS else RELU
        with network.graph.inserting_before(conv):
            new = network.graph.call_function(depthwise, (conv.args[0], *arguments, sizes.kernel, sizes.stride, kind))
        for old in (conv,) if activation is None else (activation, conv):
            old.replace_all_uses_with(new)
            network.graph.erase_node(old)
        count += 1
    return count


def _activation(conv: Node) -> Node | None:
    """Return the activation that is the only user of a convolution."""
    users = list(conv.users)
    return users[0] if len(users) == 1 and users[0].target in (*SILUS, *RELUS) else None
