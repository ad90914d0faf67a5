"""1x1 convolutions as matrix products."""

import torch
from torch import Tensor
from torch.fx import GraphModule

from .graph_nodes import CONVOLUTIONS, RELUS, argument, nodes, weight_of


def pointwise(clip: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """Return a 1x1 convolution, (B, C, ...) -> (B, C', ...), as one matrix product over all points.

    With channels last this moves no data, and the product itself applies bias and ReLU.
    """
    last = clip.movedim(1, -1)
    rows, columns = last.reshape(-1, last.shape[-1]).to(weight.dtype), weight.view(weight.shape[0], -1).t()
    if bias is None:
        result = rows @ columns
    elif relu:
        result = torch._addmm_activation(bias, rows, columns)
    else:
        result = torch.addmm(bias, rows, columns)
    result = result.view(*last.shape[:-1], -1).movedim(-1, 1)
    return result.relu_() if relu and bias is None else result


def make_products(network: GraphModule) -> None:
    """Replace every 1x1 convolution with stride 1, with a ReLU that follows it."""
    for conv in nodes(network, *CONVOLUTIONS):
        weight = weight_of(network, conv.args[1])
        ones, zeros = [1] * 3, [0] * 3
        settings = (argument(conv, 3, ones), argument(conv, 4, zeros), argument(conv, 5, ones), argument(conv, 6, 1))
        stride, padding, _, groups = settings
        if weight is None or any(size != 1 for size in weight.shape[2:]) or groups != 1:
            continue
        if any(step != 1 for step in stride) or any(edge != 0 for edge in padding):
            continue
        relu = [user for user in conv.users if user.target in RELUS]
        fused = len(conv.users) == len(relu) == 1
        with network.graph.inserting_before(conv):
            product = network.graph.call_function(pointwise, (*conv.args[:2], argument(conv, 2), fused))
        for old in (relu[0], conv) if fused else (conv,):
            old.replace_all_uses_with(product)
            network.graph.erase_node(old)
