"""OpenVINO on the CPU: the engine that every model has."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import numpy as np

# OpenVINO must not report its use to its maker.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

from .interface import Clips, Done, EngineError, Scores, chosen, existing, first_line, offered  # noqa: E402

PRECISIONS = ("f32", "bf16")


class OpenVinoEngine:
    """`model.xml` and `model.bin`, in `precision` f32 (answers as torch does) or bf16 (faster).

    The model is compiled twice, each time for one clip. A lone clip is shared by all cores; several clips run
    side by side, in as many streams as the cores allow and a batch can fill. camera_motion on two cores: 5.3 ms for a
    lone clip, 3.5 ms for each of eight; in one tensor of eight, whose layers do not fit the cache, 7.8 ms for each.

    A stream that is done takes the next clip at once, of whichever request. When it had to wait for the others of its
    batch instead, 7 to 10% of two cores were idle: docs/decisions/0010-no-end-of-a-batch.md.
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
        self._streams = int(many.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(self._streams):
            self._free.put(many.create_infer_request())
        self._threads = ThreadPoolExecutor(self._streams, "stream")
        # The bindings get ready in their first run, and two threads that do so at once wait for each other for ever
        self._lone.infer({"CLIP": np.zeros((1, *self.clip_shape), np.uint8)}, share_inputs=True)

    def warm_up(self) -> None:
        self.infer(np.zeros((self._max_batch, *self.clip_shape), np.uint8))  # a lone one ran when it was loaded

    def infer(self, clips: Clips) -> Scores:
        answers: SimpleQueue[Scores | EngineError] = SimpleQueue()
        self.submit([(clips, answers.put)])
        answer = answers.get()
        if isinstance(answer, EngineError):
            raise answer
        return answer

    def submit(self, requests: Sequence[tuple[Clips, Done]]) -> None:
        """As the interface says; called by one thread at a time."""
        is_lone = len(requests) == 1 and len(requests[0][0]) == 1 and self._free.qsize() == self._streams
        for clips, done in requests:
            answer = _Answer(len(clips), self.classes, done)
            for place in range(len(clips)):
                clip = np.ascontiguousarray(clips[place : place + 1])
                if is_lone:
                    answer.take(place, _scores(self._lone, clip))
                else:
                    self._threads.submit(self._stream, self._free.get(), clip, place, answer)

    def _stream(self, request: openvino.InferRequest, clip: Clips, place: int, answer: _Answer) -> None:
        scores = _scores(request, clip)
        self._free.put(request)
        answer.take(place, scores)


class _Answer:
    """The scores of one request's clips, which come one by one."""

    def __init__(self, clips: int, classes: int, done: Done) -> None:
        self._scores, self._missing = np.empty((clips, classes), np.float32), clips
        self._error: EngineError | None = None
        self._done, self._lock = done, Lock()

    def take(self, place: int, scores: Scores | EngineError) -> None:
        """Of the clip at `place`; with the last of them the whole is told."""
        with self._lock:
            self._missing -= 1
            is_last = not self._missing
            if isinstance(scores, EngineError):
                self._error = scores
            else:
                self._scores[place] = scores
        if is_last:
            self._done(self._error or self._scores)


def _scores(request: openvino.InferRequest, clip: Clips) -> Scores | EngineError:
    """Of one clip, (1, *clip_shape): float32 (classes,)."""
    try:
        request.infer({"CLIP": clip}, share_inputs=True)
        scores: Scores = request.get_output_tensor(0).data[0].copy()
    except Exception as error:  # whatever it is: somebody waits for an answer
        return EngineError(first_line(error))
    return scores


__all__ = ["OpenVinoEngine"]
