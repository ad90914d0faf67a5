"""Quantization of an exported model to int8 by NNCF.

The weights and the inputs of convolutions and matrix products become int8; all else is served in
what the precision `auto` stands for.
"""

import importlib
import io
import logging
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from triton_repo.backends.clip.clip_engines import engine_class
from triton_repo.backends.clip.clip_engines.interface import Clips, Scores
from triton_repo.zoo import ModelError

# OpenVINO 2026.4 has no int8 kernels for these on clips, and may refuse to compile them
NOT_FOR_CLIPS = ["GroupConvolution", "ReduceMean"]
MAX_DROP = 0.005  # a quarter of the mean difference that `verify` allows, because the largest one is bounded too
CONTROL_CLIPS, MAX_LAYERS = 24, 20  # bound the minutes that accuracy control takes
CLIP_RANK = 5  # of a convolution's input (1, channels, frames, height, width)


def require_nncf() -> Any:
    """Return the module `nncf`; raise ModelError with the command that installs it if it is missing."""
    engine_class("openvino")  # disables the telemetry that NNCF would otherwise send
    try:
        return importlib.import_module("nncf")
    except ImportError as error:
        raise ModelError(
            f"quantization needs NNCF, which cannot be imported here ({error}): run `deploy/setup quantize`."
        ) from error


def quantize(source: Path, clips: Sequence[Clips], target: Path, max_drop: float | None = None) -> None:
    """Write an int8 version of an exported model.

    Args:
        source: `model.xml` of the exported model.
        clips: Clips uint8 (1, T, H, W, 3) to calibrate on.
        target: File to write, `.xml`; the weights get a file of the same name, `.bin`.
        max_drop: Leaves the layers out that change the scores most, until the scores of the first CONTROL_CLIPS clips
            differ by no more than this on average. By default all layers are quantized.

    Raises:
        ModelError: NNCF is not installed, or cannot quantize this model.
    """
    nncf = require_nncf()
    logging.getLogger("nncf").setLevel(logging.ERROR)
    try:
        model = openvino.Core().read_model(source)
        model.reshape([1, *clips[0].shape[1:]])
        # Symmetric: with the mixed preset ResNet-18 did not keep its scores (docs/decisions/0021-int8-where-it-pays.md)
        options = {"preset": nncf.QuantizationPreset.PERFORMANCE, "subset_size": len(clips)}
        if _takes_clips(model):
            options["ignored_scope"] = nncf.IgnoredScope(types=NOT_FOR_CLIPS, validate=False)
        with redirect_stdout(io.StringIO()):  # NNCF draws progress bars there
            if max_drop is None:
                quantized = nncf.quantize(model, nncf.Dataset(clips), **options)
            else:
                quantized = _controlled(nncf, model, clips, max_drop, options)
        for file in (target, target.with_suffix(".bin")):  # an engine may have mapped the previous one
            file.unlink(missing_ok=True)
        openvino.save_model(quantized, target, compress_to_fp16=False)
    except Exception as error:  # NNCF and OpenVINO raise errors of any type
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise ModelError(f"{source} cannot be quantized: {reason}.") from error


def _controlled(
    nncf: Any, model: openvino.Model, clips: Sequence[Clips], max_drop: float, options: dict[str, Any]
) -> openvino.Model:
    control = clips[:CONTROL_CLIPS]
    exact = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = [exact(clip)["SCORES"] for clip in control]

    def closeness(compiled: openvino.CompiledModel, pairs: Iterable[tuple[Clips, Scores]]) -> tuple[float, list[float]]:
        each = [1 - float(np.abs(compiled(clip)["SCORES"] - scores).max()) for clip, scores in pairs]
        return float(np.mean(each)), each

    limits = nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=MAX_LAYERS, ranking_subset_size=CONTROL_CLIPS)
    quantized: openvino.Model = nncf.quantize_with_accuracy_control(
        model.clone(),
        nncf.Dataset(clips),
        nncf.Dataset(list(zip(control, expected, strict=True))),
        closeness,
        max_drop=max_drop,
        drop_type=nncf.DropType.ABSOLUTE,
        advanced_accuracy_restorer_parameters=limits,
        **options,
    )
    return quantized


def _takes_clips(model: openvino.Model) -> bool:
    """Return whether the model convolves over frames."""
    convolutions = [node for node in model.get_ops() if node.get_type_name() == "Convolution"]
    return any(len(node.input(0).get_partial_shape()) == CLIP_RANK for node in convolutions)
