"""Rewriting of an exported program before it runs: fewer steps, in the memory order that suits the GPU.

Every change also runs on a CPU, where the tests compare each layout with the exported program.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

# Memory order of the network and form of its 1x1 convolutions. The fastest one depends on the GPU, cuDNN and the
# network (mainly its depthwise 3-D convolutions), so torch_engine.py measures them.
Layout = Literal["channels_last", "products", "contiguous"]
LAYOUTS: tuple[Layout, ...] = ("channels_last", "products", "contiguous")

aten = torch.ops.aten
# The program asserts the dtypes of its export, which differ in bf16.
ASSERTION = aten._assert_tensor_metadata.default
CONVOLUTIONS = (aten.conv2d.default, aten.conv3d.default)
RELUS = (aten.relu.default, aten.relu_.default)
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def prepared(network: GraphModule, dtype: torch.dtype, layout: Layout) -> GraphModule:
    """Return the network in `layout`, with convolutions and products in `dtype`; `network` is consumed."""
    graph = network.graph
    for node in graph.find_nodes(op="call_function", target=ASSERTION):
        graph.erase_node(node)
    _drop_idle_casts(network)
    _fold_norms(network)
    _fuse_normalisation(network, dtype, layout)
    if layout == "products":
        _make_products(network)
    graph.eliminate_dead_code()
    _convert(network, dtype, layout)
    network.recompile()
    return network


def _nodes(network: GraphModule, *targets: Callable[..., object]) -> list[Node]:
    return [node for node in network.graph.nodes if node.op == "call_function" and node.target in targets]


def _argument(node: Node, place: int, default: Any = None) -> Any:
    return node.args[place] if len(node.args) > place else default


def _tensor(network: GraphModule, node: object) -> Tensor | None:
    """Return the weight that a node stands for, or None."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value = operator.attrgetter(str(node.target))(network)
    return value.detach() if isinstance(value, Tensor) else None


def _weight(network: GraphModule, before: Node, tensor: Tensor) -> Node:
    """Return a node for a new weight."""
    name = f"made_{len([1 for name, _ in network.named_buffers() if name.startswith('made_')])}"
    network.register_buffer(name, tensor)
    with network.graph.inserting_before(before):
        return network.graph.get_attr(name)


def _drop_idle_casts(network: GraphModule) -> None:
    """Remove casts from float32 to float32, which would be real casts in bf16, except that of the logits.

    Temperature, softmax and sigmoid stay in float32.
    """
    for node in _nodes(network, aten.to.dtype):
        source, dtype, *_ = node.args
        if isinstance(source, Node) and source.meta["val"].dtype == dtype and not _only_makes_scores(node):
            node.replace_all_uses_with(source)
            network.graph.erase_node(node)


def _only_makes_scores(node: Node) -> bool:
    """Return whether only scores are made of a node: by the temperature, the softmax or the sigmoid."""
    makers = (aten.mul.Tensor, aten.softmax.int, aten.sigmoid.default)
    return all(user.op == "output" or (user.target in makers and _only_makes_scores(user)) for user in node.users)


def _fold_norms(network: GraphModule) -> None:
    """Fold each batch normalisation with fixed statistics into the weights of the convolution before it."""
    for norm in _nodes(network, aten.batch_norm.default):
        conv, training = norm.args[0], norm.args[5]
        if training or not isinstance(conv, Node) or conv.target not in CONVOLUTIONS or len(conv.users) > 1:
            continue
        weight, bias = _tensor(network, conv.args[1]), _tensor(network, _argument(conv, 2))
        gamma, beta, mean, variance = (_tensor(network, node) for node in norm.args[1:5])
        epsilon = norm.args[7]
        if weight is None or mean is None or variance is None or not isinstance(epsilon, float):
            continue
        # Calculate in float64, so that weights are rounded once, at the end.
        scale = (1 if gamma is None else gamma.double()) / (variance.double() + epsilon).sqrt()
        shift = (0 if bias is None else bias.double()) - mean.double()
        folded = weight.double() * scale.view(-1, *(1,) * (weight.ndim - 1))
        offset = shift * scale + (0 if beta is None else beta.double())
        new = _weight(network, conv, folded.float()), _weight(network, conv, offset.float())
        conv.args = (conv.args[0], *new, *conv.args[3:])
        norm.replace_all_uses_with(conv)
        network.graph.erase_node(norm)


def normalised(clip: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype, contiguous: bool) -> Tensor:
    """Return clip * scale + shift in `dtype` for uint8 (B, T, H, W, 3), calculated in float32 in one pass.

    The result has the shape of `clip`. `contiguous` stores the channels as planes, which layers in that layout need.
    """
    if contiguous:
        apart = torch.empty(
            (clip.shape[0], clip.shape[-1], *clip.shape[1:-1]), dtype=dtype, device=clip.device
        )  # fmt: skip
        out = apart.movedim(1, -1)
    else:
        out = torch.empty(clip.shape, dtype=dtype, device=clip.device)
    return torch.addcmul(shift, clip, scale, out=out)


def _fuse_normalisation(network: GraphModule, dtype: torch.dtype, layout: Layout) -> None:
    for cast in _nodes(network, aten.to.dtype):
        chain = [cast]
        for target in (aten.mul.Tensor, aten.add.Tensor):
            (user, *others) = chain[-1].users
            if others or user.target is not target or user.args[0] is not chain[-1]:
                break
            chain.append(user)
        else:
            _, product, total = chain
            with network.graph.inserting_before(total):
                fused = network.graph.call_function(
                    normalised, (cast.args[0], product.args[1], total.args[1], dtype, layout == "contiguous")
                )
            total.replace_all_uses_with(fused)
            for node in reversed(chain):
                network.graph.erase_node(node)


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


def _make_products(network: GraphModule) -> None:
    for conv in _nodes(network, *CONVOLUTIONS):
        weight = _tensor(network, conv.args[1])
        ones, zeros = [1] * 3, [0] * 3
        settings = (
            _argument(conv, 3, ones),
            _argument(conv, 4, zeros),
            _argument(conv, 5, ones),
            _argument(conv, 6, 1),
        )
        stride, padding, _, groups = settings
        if weight is None or any(size != 1 for size in weight.shape[2:]) or groups != 1:
            continue
        if any(step != 1 for step in stride) or any(edge != 0 for edge in padding):
            continue
        relu = [user for user in conv.users if user.target in RELUS]
        fused = len(conv.users) == len(relu) == 1
        with network.graph.inserting_before(conv):
            product = network.graph.call_function(pointwise, (*conv.args[:2], _argument(conv, 2), fused))
        for old in (relu[0], conv) if fused else (conv,):
            old.replace_all_uses_with(product)
            network.graph.erase_node(old)


def _convert(network: GraphModule, dtype: torch.dtype, layout: Layout) -> None:
    """Convert weights and biases of convolutions and products to `dtype`; normalisations stay in float32."""
    biases = {node.args[2] for node in _nodes(network, *CONVOLUTIONS, aten.linear.default, pointwise) if node.args[2:]}
    small = {str(node.target) for node in biases if isinstance(node, Node)}
    apart = {"scale", "shift"}  # buffers of the input normalisation
    for name, weight in (*network.named_parameters(), *network.named_buffers()):
        weight.requires_grad_(False)
        if weight.is_floating_point() and name not in apart and (weight.ndim > 1 or name in small):
            order = LAST.get(weight.ndim, torch.preserve_format)
            weight.data = weight.data.to(
                dtype, memory_format=order if layout != "contiguous" else torch.preserve_format
            )
