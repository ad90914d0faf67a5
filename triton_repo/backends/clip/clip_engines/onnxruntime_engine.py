"""ONNX Runtime: on the CPU, and on an NVIDIA GPU where onnxruntime-gpu is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

# From 1.29 on it reports its use to its maker unless it is told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # noqa: E402

from .interface import Clips, EngineError, Scores, chosen, existing, first_line, offered  # noqa: E402

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxRuntimeEngine:
    """`model.onnx` in f32, on CUDA also `model.f16.onnx`: the precision is that of the file."""

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        known = devices()
        if (wanted := parameters.get("device", known[0])).startswith("cuda:") and "cuda" in known:
            known = [*known, wanted]  # which GPUs there are, only CUDA could tell, and it does below
        device = chosen("device", parameters, known)
        precision = chosen("precision", parameters, ("f32", "f16"))
        offered(precision, device, self.precisions(device))
        path = existing(folder, self.file(precision))
        self._max_batch = max_batch
        # The CPU behind the GPU: for the few operators that CUDA has not.
        kind, _, number = device.partition(":")
        on_gpu = (PROVIDERS["cuda"], {"device_id": number or "0"})
        providers = [PROVIDERS["cpu"]] if kind == "cpu" else [on_gpu, PROVIDERS["cpu"]]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; they are raised as well
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
            (clip,), (scores,) = self._session.get_inputs(), self._session.get_outputs()
        except Exception as error:  # its errors have no common ancestor but this
            raise EngineError(f"{path} cannot be loaded: {first_line(error)}") from error
        if self._session.get_providers()[0] != PROVIDERS[kind]:
            raise EngineError(f"ONNX Runtime could not use {device}: is the CUDA that it needs installed?")
        self.clip_shape, self.classes = tuple(clip.shape[1:]), int(scores.shape[1])
        self._one_by_one = clip.shape[0] == 1  # models that came from ONNX take one clip

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        return ("f32", "f16") if (device or devices()[0]).startswith("cuda") else ("f32",)

    @staticmethod
    def file(precision: str) -> str:
        return "model.onnx" if precision == "f32" else f"model.{precision}.onnx"

    def warm_up(self) -> None:
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def infer(self, clips: Clips) -> Scores:
        parts = [clips[i : i + 1] for i in range(len(clips))] if self._one_by_one else [clips]
        answers = [self._session.run(["SCORES"], {"CLIP": np.ascontiguousarray(part)})[0] for part in parts]
        return np.concatenate(answers)


def devices() -> list[str]:
    """The devices that the installed package was built for, the default first."""
    return [device for device, provider in PROVIDERS.items() if provider in onnxruntime.get_available_providers()]


__all__ = ["OnnxRuntimeEngine", "devices"]
