"""ONNX export of a network from an ONNX file, between the nodes that every served model has."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from triton_repo.zoo.export.reference import OnnxFile
from triton_repo.zoo.repository.sources import Source

OURS = "clipstack_"  # prefix of every added name, so that none collides


def write_served(file: OnnxFile, path: Path) -> None:
    """Write a model `CLIP` uint8 (1, frames, crop, crop, 3) -> `SCORES` float32 (1, classes).

    The arithmetic equals that of `convert_onnx`.
    """
    model = onnx.load(file.path)
    graph, source = model.graph, file.source
    weights = {tensor.name for tensor in graph.initializer}  # old files list weights among the inputs
    (graph_input,) = (value for value in graph.input if value.name not in weights)
    (graph_output,) = graph.output
    std = np.asarray(source.std, np.float32)
    for name, value in (
        ("scale", 1 / (255 * std)),
        ("shift", -np.asarray(source.mean, np.float32) / std),
        ("first", np.array(0)),
        ("gain", np.array([1 / source.scoring.temperature], np.float32)),
        ("shape", np.array([1, file.classes])),
    ):
        graph.initializer.append(_constant(name, value))
    video = "T" in source.layout
    order = [("NTHWC" if video else "NHWC").index(letter) for letter in source.layout]
    before = [
        _node("Cast", ["CLIP"], OURS + "float", to=TensorProto.FLOAT),
        _node("Mul", [OURS + "float", OURS + "scale"], OURS + "scaled"),
        _node("Add", [OURS + "scaled", OURS + "shift"], OURS + "normal"),
        # Gather removes a picture's frame axis; a video keeps it.
        _node("Identity", [OURS + "normal"], OURS + "frames")
        if video
        else _node("Gather", [OURS + "normal", OURS + "first"], OURS + "frames", axis=1),
        _node("Transpose", [OURS + "frames"], OURS + "ordered", perm=order),
        _node("Cast", [OURS + "ordered"], graph_input.name, to=graph_input.type.tensor_type.elem_type),
    ]
    after = [
        _node("Reshape", [graph_output.name, OURS + "shape"], OURS + "row"),
        _node("Cast", [OURS + "row"], OURS + "scores", to=TensorProto.FLOAT),
        *_activation(source),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.remove(graph_input)
    spec = source.spec
    clip = [1, spec.frames, spec.crop, spec.crop, 3]
    graph.input.insert(0, helper.make_tensor_value_info("CLIP", TensorProto.UINT8, clip))
    graph.output.remove(graph_output)
    graph.output.append(helper.make_tensor_value_info("SCORES", TensorProto.FLOAT, [1, file.classes]))
    onnx.save(model, path)


def _activation(source: Source) -> list[onnx.NodeProto]:
    if source.scores != "logits":
        return [_node("Identity", [OURS + "scores"], "SCORES")]
    scaled = _node("Mul", [OURS + "scores", OURS + "gain"], OURS + "logits")
    if source.scoring.kind == "sigmoid":
        return [scaled, _node("Sigmoid", [OURS + "logits"], "SCORES")]
    return [scaled, _node("Softmax", [OURS + "logits"], "SCORES", axis=1)]


def _constant(name: str, value: NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(value, OURS + name)


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{OURS}{kind}_{output}", **attributes)
