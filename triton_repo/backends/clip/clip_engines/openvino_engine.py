"""OpenVINO on the CPU: the engine that every model has."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

# OpenVINO must not report its use to its maker.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

from .interface import Clips, EngineError, Scores, chosen, existing, offered  # noqa: E402

PRECISIONS = ("f32", "bf16")


class OpenVinoEngine:
    """`model.xml` and `model.bin`, in `precision` f32 (answers as torch does) or bf16 (faster).

    The model is compiled twice, each time for one clip. A lone clip is shared by all cores; several clips run
    side by side, in as many streams as the cores allow and a batch can fill. camera_motion on two cores: 5.3 ms for a
    lone clip, 3.5 ms for each of eight; in one tensor of eight, whose layers do not fit the cache, 7.8 ms for each.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str], max_batch: int) -> None:
        chosen("device", parameters, ["cpu"])
        precision = chosen("precision", parameters, PRECISIONS)
        # Asked for what the CPU has not, OpenVINO calculates in f32 and does not say so.
        offered(precision, "CPU", self.precisions())
        path = existing(folder, self.file(precision))
        self._max_batch = max_batch
        try:
            self._load(path, precision)
        except RuntimeError as error:
            raise EngineError(f"{path}: {error}") from error

    @staticmethod
    def precisions(device: str | None = None) -> tuple[str, ...]:
        fast = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return PRECISIONS if fast else PRECISIONS[:1]

    @staticmethod
    def file(precision: str) -> str:
        return "model.xml"

    def _load(self, path: Path, precision: str) -> None:
        core = openvino.Core()
        model = core.read_model(path)
        self.clip_shape = tuple(size.get_length() for size in list(model.input("CLIP").partial_shape)[1:])
        self.classes = int(model.output("SCORES").partial_shape[1].get_length())
        model.reshape([1, *self.clip_shape])
        # A pinned thread waits for its core while another is idle, and pushes decoders off theirs: a timeline, which
        # decodes and infers side by side, took 13% longer. Alone on the machine it makes no difference.
        hints = {"INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False}
        together = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": self._max_batch}
        lone = core.compile_model(model, "CPU", hints | {"PERFORMANCE_HINT": "LATENCY"})
        many = core.compile_model(model, "CPU", hints | together)
        self._lone = lone.create_infer_request()
        self._compiled = many
        self._many = self._queue()

    def _queue(self) -> openvino.AsyncInferQueue:
        queue = openvino.AsyncInferQueue(self._compiled)  # as many requests at a time as there are streams
        queue.set_callback(self._keep)
        return queue

    def _keep(self, request: openvino.InferRequest, target: Scores) -> None:
        target[:] = request.get_output_tensor(0).data[0]

    def warm_up(self) -> None:
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def infer(self, clips: Clips) -> Scores:
        scores = np.empty((len(clips), self.classes), np.float32)
        # Inputs are shared, not copied: `ones` keeps them alive until the last answer.
        ones = [np.ascontiguousarray(clips[i : i + 1]) for i in range(len(clips))]
        if len(ones) == 1:
            self._lone.infer({"CLIP": ones[0]}, share_inputs=True)
            self._keep(self._lone, scores[0])
            return scores
        try:
            for clip, target in zip(ones, scores, strict=True):
                self._many.start_async({"CLIP": clip}, target, share_inputs=True)
            self._many.wait_all()
        except RuntimeError:
            self._begin_anew()
            raise
        return scores

    def _begin_anew(self) -> None:
        """A queue in which an inference has failed refuses everything for ever."""
        for request in self._many:
            with suppress(RuntimeError):
                request.wait()
        self._many = self._queue()


__all__ = ["OpenVinoEngine"]
