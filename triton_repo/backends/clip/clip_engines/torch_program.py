"""Rewriting of an exported program before it runs: fewer steps, in the memory order that suits the GPU.

Every change also runs on a CPU, where the tests compare each layout with the exported program.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from .depthwise import pad_channels, replace_depthwise
from .graph_nodes import CONVOLUTIONS, add_weight, argument, nodes, weight_of
from .products import make_products, pointwise

# Memory order of the network, and form of its 1x1 and depthwise convolutions. The fastest one depends on the GPU, cuDNN
# and the network (mainly its depthwise 3-D convolutions), so layout_choice.py measures them.
Layout = Literal["channels_last", "depthwise", "products", "contiguous"]
LAYOUTS: tuple[Layout, ...] = ("channels_last", "depthwise", "products", "contiguous")

aten = torch.ops.aten
# The program asserts the dtypes of its export, which differ in bf16.
ASSERTION = aten._assert_tensor_metadata.default
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def prepared(network: GraphModule, dtype: torch.dtype, layout: Layout) -> GraphModule:
    """Return the network in `layout`, with convolutions and products in `dtype`; `network` is consumed."""
    graph = network.graph
    for node in graph.find_nodes(op="call_function", target=ASSERTION):
        graph.erase_node(node)
    _drop_idle_casts(network)
    _fold_norms(network)
    _fuse_normalisation(network, dtype, layout)
    if layout in ("products", "depthwise"):
        make_products(network)
    if layout == "depthwise":
        pad_channels(network)
        replace_depthwise(network)
    graph.eliminate_dead_code()
    _convert(network, dtype, layout)
    network.recompile()
    return network


def has_depthwise(graph: Graph) -> bool:
    """Return whether a program has grouped 3-D convolutions, for which the layout `depthwise` has its kernel."""
    return any(argument(node, 6, 1) > 1 for node in graph.find_nodes(op="call_function", target=aten.conv3d.default))


def _drop_idle_casts(network: GraphModule) -> None:
    """Remove casts from float32 to float32, which would be real casts in bf16, except that of the logits.

    Temperature, softmax and sigmoid stay in float32.
    """
    for node in nodes(network, aten.to.dtype):
        source, dtype, *_ = node.args
        if isinstance(source, Node) and source.meta["val"].dtype == dtype and not _only_makes_scores(node):
            node.replace_all_uses_with(source)
            network.graph.erase_node(node)


def _only_makes_scores(node: Node) -> bool:
    """Return whether only scores are made of a node: by the temperature, the softmax or the sigmoid."""
    makers = (aten.mul.Tensor, aten.softmax.int, aten.sigmoid.default)
    return all(user.op == "output" or (user.target in makers and _only_makes_scores(user)) for user in node.users)


def add_features(network: GraphModule) -> int:
    """Append the input of the last linear layer, in float32, to the scores; return the number of these features.

    Return 0, and change nothing, if no linear layer gives the scores.
    """
    output = network.graph.output_node()
    outputs: Any = output.args[0]
    (scores,) = outputs
    layer = scores
    makers = (aten.mul.Tensor, aten.softmax.int, aten.sigmoid.default, aten.to.dtype, aten.add.Tensor)
    while isinstance(layer, Node) and layer.target in makers:
        layer = layer.args[0]
    if not isinstance(layer, Node) or layer.target is not aten.linear.default:
        return 0
    weight = weight_of(network, layer.args[1])
    if weight is None:
        return 0
    with network.graph.inserting_before(output):
        exact = [network.graph.call_function(aten.to.dtype, (one, torch.float32)) for one in (scores, layer.args[0])]
        rows = network.graph.call_function(aten.cat.default, (exact, 1))
    output.args = ((rows,),)
    network.recompile()
    return int(weight.shape[1])


def _fold_norms(network: GraphModule) -> None:
    """Fold each batch normalisation with fixed statistics into the weights of the convolution before it."""
    for norm in nodes(network, aten.batch_norm.default):
        conv, training = norm.args[0], norm.args[5]
        if training or not isinstance(conv, Node) or conv.target not in CONVOLUTIONS or len(conv.users) > 1:
            continue
        weight, bias = weight_of(network, conv.args[1]), weight_of(network, argument(conv, 2))
        gamma, beta, mean, variance = (weight_of(network, node) for node in norm.args[1:5])
        epsilon = norm.args[7]
        if weight is None or mean is None or variance is None or not isinstance(epsilon, float):
            continue
        # Calculate in float64, so that weights are rounded once, at the end.
        scale = (1 if gamma is None else gamma.double()) / (variance.double() + epsilon).sqrt()
        shift = (0 if bias is None else bias.double()) - mean.double()
        folded = weight.double() * scale.view(-1, *(1,) * (weight.ndim - 1))
        offset = shift * scale + (0 if beta is None else beta.double())
        new = add_weight(network, conv, folded.float()), add_weight(network, conv, offset.float())
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
    for cast in nodes(network, aten.to.dtype):
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


def _convert(network: GraphModule, dtype: torch.dtype, layout: Layout) -> None:
    """Convert weights and biases of convolutions and products to `dtype`; normalisations stay in float32."""
    biases = {node.args[2] for node in nodes(network, *CONVOLUTIONS, aten.linear.default, pointwise) if node.args[2:]}
    small = {str(node.target) for node in biases if isinstance(node, Node)}
    apart = ("scale", "shift", "depthwise_")  # buffers of the input normalisation, weights of the depthwise kernel
    for name, weight in (*network.named_parameters(), *network.named_buffers()):
        weight.requires_grad_(False)
        if weight.is_floating_point() and not name.startswith(apart) and (weight.ndim > 1 or name in small):
            order = LAST.get(weight.ndim, torch.preserve_format)
            weight.data = weight.data.to(
                dtype, memory_format=order if layout != "contiguous" else torch.preserve_format
            )
