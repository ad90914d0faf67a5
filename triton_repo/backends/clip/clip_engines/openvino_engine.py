"""OpenVINO on the CPU: the engine that every model has."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# OpenVINO must not report its use to its maker.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

from .interface import Clips, Done, EngineError, Scores, chosen, existing, offered  # noqa: E402
from .openvino_streams import Streams, StreamsThread, engine_error, scores_of  # noqa: E402

PRECISIONS = ("f32", "bf16")


class OpenVinoEngine:
    """`model.xml` and `model.bin`, in `precision` f32 (answers as torch does) or bf16 (faster).

    The model is compiled twice, each time for one clip. A lone clip is shared by all cores; several clips run
    side by side, in as many streams as the cores allow and a batch can fill. camera_motion on two cores: 5.3 ms for a
    lone clip, 3.5 ms for each of eight; in one tensor of eight, whose layers do not fit the cache, 7.8 ms for each.

    A stream that is done takes the next clip at once, of whichever request: docs/decisions/0010-no-end-of-a-batch.md.
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
        self._streams = Streams(many, self.classes)
        self._thread: StreamsThread | None = None

    def warm_up(self) -> None:
        for batch in {1, self._max_batch}:
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def infer(self, clips: Clips) -> Scores:
        self.drain()
        told: list[Scores | EngineError] = []
        if len(clips) == 1:
            told.append(self._alone(clips))
        else:
            self._streams.begin(clips, told.append)
            self._streams.collect_all()
        (answer,) = told
        if isinstance(answer, EngineError):
            raise answer
        return answer

    def submit(self, requests: Sequence[tuple[Clips, Done]]) -> None:
        if self._streams.are_idle and len(requests) == 1 and len(requests[0][0]) == 1:
            clip, done = requests[0]
            done(self._alone(clip))
            return
        self._thread = self._thread or StreamsThread(self._streams)
        self._thread.begin(requests)

    def drain(self) -> None:
        if self._thread:
            self._thread.end()
            self._thread = None

    def _alone(self, clip: Clips) -> Scores | EngineError:
        """By all cores; the scores of a batch of one."""
        try:
            self._lone.infer({"CLIP": np.ascontiguousarray(clip)}, share_inputs=True)
            return scores_of(self._lone)[None]
        except Exception as error:  # whatever it is: somebody waits for an answer
            return engine_error(error)


__all__ = ["OpenVinoEngine"]
