"""Measurement of a model version's accuracy in bf16, which `precision: auto` is decided by.

OpenVINO runs the version in f32 and in bf16. On a CPU without bf16 instructions OpenVINO offers no bf16 at all, so the
rounding is emulated: the inputs of every sum are rounded to bf16.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from triton_repo.backends.clip.clip_engines import engine_class
from triton_repo.backends.clip.clip_engines.accuracy import compare_scores, random_clips
from triton_repo.backends.clip.clip_engines.interface import Clips, Scores
from triton_repo.backends.clip.clip_engines.precision import PrecisionRecord, read_record

CLIPS, SEED = 32, 0
SPLIT = 65537.0  # 2**16 + 1: Dekker's splitting keeps the 8 bits of a bf16 number
SUMS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul", "ReduceMean", "AvgPool"}
BETWEEN = {"Add", "Subtract"}  # of two activations, as in a residual block; products are fused with a sum


def record(
    version: Path, clips: Sequence[Clips] = (), native: bool | None = None, *, is_independent: bool = False
) -> PrecisionRecord:
    """Measure the version in this folder and write its record.

    Args:
        version: Folder with `model.xml`.
        clips: Clips uint8 (1, T, H, W, 3) to compare on, besides the random ones.
        native: Whether to use the CPU's bf16 instructions; by default, if it has them.
        is_independent: Whether the scores are those of sigmoids.
    """
    core = openvino.Core()
    model = core.read_model(version / "model.xml")
    shape = tuple(size.get_length() for size in list(model.input("CLIP").partial_shape)[1:])
    model.reshape([1, *shape])
    compared = [*random_clips(shape, CLIPS, SEED), *clips]
    is_native = has_bf16() if native is None else native
    exact = _scores(core, model, "f32", compared)
    if is_native:
        rounded = _scores(core, model, "bf16", compared)
    else:
        rounded = _scores(core, emulated_bf16(model), "f32", compared)
    result = PrecisionRecord(compare_scores(rounded, exact, is_independent), is_native)
    if result != read_record(version):
        result.write(version)
    return result


def has_bf16() -> bool:
    """Return whether this CPU has bf16 instructions that OpenVINO uses."""
    return "bf16" in engine_class("openvino").precisions()


def emulated_bf16(model: openvino.Model) -> openvino.Model:
    """Return a copy of the model that calculates in f32 and rounds as bf16 instructions do.

    Convolutions and matrix products get weights and activations in bf16, and sum in f32. Additions of two activations
    get both in bf16. What follows the last sum stays f32, as in OpenVINO.
    """
    copy = model.clone()
    for node in copy.get_ordered_ops():
        inputs = [node.input(index) for index in range(node.get_input_size())]
        sources = [source.get_source_output() for source in inputs]
        constant = [source.get_node().get_type_name() == "Constant" for source in sources]
        kind = node.get_type_name()
        if kind in SUMS or (kind in BETWEEN and not any(constant)):
            for place, source in zip(inputs, sources, strict=True):
                if source.get_element_type().is_real():
                    place.replace_source_output(_rounded(source))
    copy.validate_nodes_and_infer_types()
    return copy


def _rounded(source: openvino.Output) -> openvino.Output:
    """Return the nearest bf16 numbers, in the type of `source`.

    A conversion to bf16 and back would not do: OpenVINO removes it on CPUs without bf16.
    """
    exact = ops.convert(source, "f32")
    product = ops.multiply(exact, ops.constant(np.float32(SPLIT)))
    rounded = ops.subtract(product, ops.subtract(product, exact))
    return ops.convert(rounded, source.get_element_type().get_type_name()).output(0)


def _scores(core: openvino.Core, model: openvino.Model, precision: str, clips: Sequence[Clips]) -> Scores:
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(model, "CPU", hints)
    scores: Scores = np.concatenate([compiled(clip)["SCORES"] for clip in clips])
    return scores
