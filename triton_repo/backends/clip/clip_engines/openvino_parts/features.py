"""Features of a clip: the input of a network's last layer, as a second output of an OpenVINO model.

The output is added when a model is loaded, so that versions of any age and origin have it.
"""

from math import prod

import openvino

MAX_FEATURES = 8192
MAX_STEPS = 24  # operations between the last layer and the scores, or between the weights and their constant
# What may follow the last layer: bias, temperature, softmax or sigmoid, quantization, and changes of type and shape
AFTER = {
    "Result", "Softmax", "Sigmoid", "Add", "Subtract", "Multiply", "Divide", "Convert", "Reshape", "Squeeze",
    "Unsqueeze", "FakeQuantize",
}  # fmt: skip
QUANTIZATION = {"FakeQuantize", "Convert"}


def add_features(model: openvino.Model) -> int:
    """Add the output and return the number of features; 0, and no output, if no linear layer gives the scores.

    Args:
        model: Model of one clip (1, T, H, W, 3), with the output `SCORES`.
    """
    source = _input_of_last_layer(model.output("SCORES").get_node())
    if source is None or source.get_partial_shape().is_dynamic:
        return 0
    features = prod(source.get_shape())
    if not 0 < features <= MAX_FEATURES or not source.get_element_type().is_real():
        return 0
    model.add_outputs(source)
    return int(features)


def _input_of_last_layer(node: openvino.Node) -> openvino.Output | None:
    for _ in range(MAX_STEPS):
        kind = node.get_type_name()
        if kind != "MatMul" and kind not in AFTER:
            return None
        sources = [node.input_value(index) for index in range(node.get_input_size())]
        varying = [source for source in sources if not _is_constant(source.get_node())]
        if len(varying) != 1:
            return None
        if kind == "MatMul":
            return _without_quantization(varying[0])
        node = varying[0].get_node()
    return None


def _without_quantization(source: openvino.Output) -> openvino.Output:
    for _ in range(MAX_STEPS):
        if source.get_node().get_type_name() not in QUANTIZATION:
            break
        source = source.get_node().input_value(0)
    return source


def _is_constant(node: openvino.Node, steps: int = MAX_STEPS) -> bool:
    """Return whether a node is a constant, or is calculated from constants alone, as quantized weights are."""
    if node.get_type_name() == "Constant":
        return True
    count = node.get_input_size()
    return (
        steps > 0 and count > 0 and all(_is_constant(node.input_value(i).get_node(), steps - 1) for i in range(count))
    )
