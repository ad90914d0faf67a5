"""Import of models of any architecture from ONNX: decoded frames in, probabilities out."""

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from triton_repo.zoo import ModelError
from triton_repo.zoo.repository.sources import Source
from triton_repo.zoo.spec import Scoring

LAYOUTS = ("NCTHW", "NTCHW", "NTHWC", "NCHW", "NHWC")


def _read(path: Path, source: Source, classes: int) -> openvino.Model:
    """Return the file's network for one clip; raise ModelError when its input or output does not fit."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist or is no file.")
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise ModelError(f"{path} is no ONNX model, is cut off, or OpenVINO cannot read it: {_short(error)}") from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: export it with one of each, "
            "the clip and the scores of its classes."
        )
    spec = source.spec
    sizes = {"N": 1, "C": 3, "T": spec.frames, "H": spec.crop, "W": spec.crop}
    shape = [sizes[letter] for letter in source.layout]
    input_shape = model.input().partial_shape
    if not input_shape.compatible(openvino.PartialShape(shape)) or not model.input().element_type.is_real():
        raise ModelError(
            f"{path} takes {model.input().element_type.get_type_name()} {input_shape}, and a clip in the layout "
            f"{source.layout} would be float {shape}: check --frames, --size and --layout."
        )
    try:
        model.reshape(shape)
    except RuntimeError as error:
        raise ModelError(f"{path} cannot take a clip of {shape} ({source.layout}): {_short(error)}") from error
    output_shape = model.output().partial_shape
    if output_shape.is_dynamic or int(np.prod(output_shape.to_shape())) != classes:
        raise ModelError(f"{path} gives scores of the shape {output_shape}, and there are {classes} labels.")
    return model


def convert_onnx(path: Path, source: Source, classes: int) -> openvino.Model:
    """Return a model `CLIP` uint8 (1, frames, crop, crop, 3) -> `SCORES` float32 (1, classes).

    The engine runs clips one by one.
    """
    model = _read(path, source, classes)
    spec, model_input = source.spec, model.inputs[0]
    std = np.asarray(source.std, np.float32)
    clip = ops.parameter([1, spec.frames, spec.crop, spec.crop, 3], np.uint8)
    x = ops.multiply(ops.convert(clip, "f32"), ops.constant(1 / (255 * std)))
    x = ops.add(x, ops.constant(-np.asarray(source.mean, np.float32) / std))
    if "T" not in source.layout:
        x = ops.squeeze(x, ops.constant(np.array([1])))
    ours = "NTHWC" if "T" in source.layout else "NHWC"
    x = ops.transpose(x, ops.constant(np.array([ours.index(letter) for letter in source.layout])))
    x = ops.convert(x, model_input.element_type.get_type_name())
    for target in model_input.get_target_inputs():
        target.replace_source_output(x.output(0))
    output = model.output().get_node().input_value(0)
    scores = ops.convert(ops.reshape(output, ops.constant(np.array([1, classes])), False), "f32")
    if source.scores == "logits":
        scores = _activated(scores, source.scoring)
    converted = openvino.Model([scores], [clip], path.stem)
    converted.inputs[0].set_names({"CLIP"})
    converted.outputs[0].set_names({"SCORES"})
    return converted


def _activated(logits: openvino.Node, scoring: Scoring) -> openvino.Node:
    if scoring.temperature != 1:
        logits = ops.multiply(logits, ops.constant(np.float32(1 / scoring.temperature)))
    return ops.sigmoid(logits) if scoring.kind == "sigmoid" else ops.softmax(logits, 1)


class OnnxNetwork:
    """The ONNX file run by OpenVINO in float32, with NumPy for normalisation, softmax and sigmoid."""

    def __init__(self, path: Path, source: Source, classes: int) -> None:
        hints = {"INFERENCE_PRECISION_HINT": "f32"}
        self._source, self._classes = source, classes
        self._compiled = openvino.Core().compile_model(_read(path, source, classes), "CPU", hints)

    def __call__(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return scores float32 (B, classes) for uint8 (B, frames, crop, crop, 3)."""
        normal = (clips / 255 - self._source.mean) / self._source.std
        axes = dict(zip("NTHWC", range(5), strict=True))
        if "T" not in self._source.layout:
            normal, axes = normal[:, 0], dict(zip("NHWC", range(4), strict=True))
        ordered = normal.transpose([axes[letter] for letter in self._source.layout]).astype(np.float32)
        scores: NDArray[np.float32] = np.concatenate(
            [self._compiled(one[None])[0].reshape(1, self._classes) for one in ordered]
        )
        if self._source.scores != "logits":
            return scores
        scores = (scores / self._source.scoring.temperature).astype(np.float32)
        if self._source.scoring.kind == "sigmoid":
            chances: NDArray[np.float32] = (0.5 + 0.5 * np.tanh(0.5 * scores)).astype(np.float32)
            return chances
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities


def _short(error: Exception) -> str:
    """Return the last line of OpenVINO's message; the lines before it name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
