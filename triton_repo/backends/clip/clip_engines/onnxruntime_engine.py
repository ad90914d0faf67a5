"""ONNX Runtime engine, for the CPU and, with onnxruntime-gpu, for NVIDIA GPUs."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

# ONNX Runtime 1.29 and later send telemetry unless this variable is set before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # noqa: E402

from .interface import Clips, EngineError, Rows, Scores, chosen, existing, first_line, offered  # noqa: E402

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxRuntimeEngine:
    """Engine for `model.onnx` in f32 and, on CUDA, `model.f16.onnx`; the file determines the precision."""

    features = 0

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        available = devices()
        if (requested := parameters.get("device", available[0])).startswith("cuda:") and "cuda" in available:
            available = [*available, requested]  # CUDA checks below whether this GPU exists
        device = chosen("device", parameters, available)
        self.precision = precision = chosen("precision", parameters, ("f32", "f16"))
        offered(precision, device, self.precisions(device))
        path = existing(folder, self.file(precision))
        self._max_batch = max_batch
        # The CPU provider runs the few operators that CUDA lacks.
        kind, _, number = device.partition(":")
        on_gpu = (PROVIDERS["cuda"], {"device_id": number or "0"})
        providers = [PROVIDERS["cpu"]] if kind == "cpu" else [on_gpu, PROVIDERS["cpu"]]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # Log errors only; they are raised as well.
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
            (clip,), (scores,) = self._session.get_inputs(), self._session.get_outputs()
        except Exception as error:  # ONNX Runtime's errors share no narrower base class
            raise EngineError(f"{path} cannot be loaded: {first_line(error)}") from error
        if self._session.get_providers()[0] != PROVIDERS[kind]:
            raise EngineError(f"ONNX Runtime could not use {device}: is the CUDA that it needs installed?")
        self.clip_shape, self.classes = tuple(clip.shape[1:]), int(scores.shape[1])
        self._one_by_one = clip.shape[0] == 1  # models imported from ONNX take one clip at a time

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        """Return the supported precisions: f32, and f16 on CUDA."""
        return ("f32", "f16") if (device or devices()[0]).startswith("cuda") else ("f32",)

    @staticmethod
    def file(precision: str) -> str:
        """Return the name of the ONNX file for this precision."""
        return "model.onnx" if precision == "f32" else f"model.{precision}.onnx"

    def warm_up(self) -> None:
        """Infer blank batches of one clip and of `max_batch` clips."""
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def infer(self, clips: Clips) -> Scores:
        """Return probabilities float32 (B, classes) for clips uint8 (B, *clip_shape)."""
        parts = [clips[i : i + 1] for i in range(len(clips))] if self._one_by_one else [clips]
        scores = [self._session.run(["SCORES"], {"CLIP": np.ascontiguousarray(part)})[0] for part in parts]
        return np.concatenate(scores)

    def infer_rows(self, clips: Clips) -> Rows:
        """Return the scores alone: the ONNX file has no output of features."""
        return self.infer(clips)


def devices() -> list[str]:
    """Return the devices that the installed package supports, the default first."""
    return [device for device, provider in PROVIDERS.items() if provider in onnxruntime.get_available_providers()]
