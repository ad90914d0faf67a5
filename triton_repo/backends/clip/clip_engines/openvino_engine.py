"""OpenVINO on the CPU: the engine that every model has."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TypeVar

import numpy as np

# OpenVINO must not report its use to its maker.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

from .interface import Clips, Done, EngineError, Scores, chosen, existing, offered  # noqa: E402

PRECISIONS = ("f32", "bf16")
T = TypeVar("T")
LOOK_S = 0.05  # so often somebody who waits looks for a failure


class OpenVinoEngine:
    """`model.xml` and `model.bin`, in `precision` f32 (answers as torch does) or bf16 (faster).

    The model is compiled twice, each time for one clip. A lone clip is shared by all cores; several clips run
    side by side, in as many streams as the cores allow and a batch can fill. camera_motion on two cores: 5.3 ms for a
    lone clip, 3.5 ms for each of eight; in one tensor of eight, whose layers do not fit the cache, 7.8 ms for each.

    A stream that is done takes the next clip at once, of whichever request: docs/decisions/0010-no-end-of-a-batch.md.
    Streams are begun by the caller's thread alone. Two threads that use OpenVINO's bindings for the first time at once
    wait for each other for ever.
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
        self._free: SimpleQueue[_Stream] = SimpleQueue()
        count = int(many.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._streams = [_Stream(many.create_infer_request(), self._free) for _ in range(count)]

    def warm_up(self) -> None:
        for batch in (1, self._max_batch):  # the lone one first: what the bindings prepare is prepared in one thread
            self.infer(np.zeros((batch, *self.clip_shape), np.uint8))

    def infer(self, clips: Clips) -> Scores:
        answers: SimpleQueue[Scores | EngineError] = SimpleQueue()
        self.submit([(clips, answers.put)])
        answer = self._await(answers)
        self.drain()
        if isinstance(answer, EngineError):
            raise answer
        return answer

    def submit(self, requests: Sequence[tuple[Clips, Done]]) -> None:
        """As the interface says. What fails when nobody waits is told by the next call."""
        self._find_failed()
        is_lone = len(requests) == 1 and len(requests[0][0]) == 1 and self._free.qsize() == len(self._streams)
        for clips, done in requests:
            answer = _Answer(len(clips), self.classes, done)
            for place in range(len(clips)):
                clip = np.ascontiguousarray(clips[place : place + 1])
                if is_lone:
                    answer.take(place, _inferred(self._lone, clip))
                else:
                    self._await(self._free).begin(clip, answer, place)

    def drain(self) -> None:
        for stream in self._streams:
            stream.wait()
        self._find_failed()

    def _await(self, queue: SimpleQueue[T]) -> T:
        while True:
            try:
                return queue.get(timeout=LOOK_S)
            except Empty:
                self._find_failed()

    def _find_failed(self) -> None:
        for stream in self._streams:
            stream.find_failed()


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


class _Stream:
    """One clip at a time; puts itself among the free ones when it is done.

    OpenVINO's own AsyncInferQueue refuses everything for ever once an inference has failed.
    """

    def __init__(self, request: openvino.InferRequest, free: SimpleQueue[_Stream]) -> None:
        self._request, self._free = request, free
        self._work: tuple[Clips, _Answer, int] | None = None  # the clip too: OpenVINO reads it where it is
        request.set_callback(self._succeeded, None)
        free.put(self)

    def begin(self, clip: Clips, answer: _Answer, place: int) -> None:
        """`clip` is uint8 (1, *clip_shape); its scores go to `answer`."""
        self._work = clip, answer, place
        try:
            self.wait()  # begun again before its callback has come back, a request would forget the callback
            self._request.start_async({"CLIP": clip}, share_inputs=True)
        except Exception as error:  # whatever it is: somebody waits for an answer
            self._end(_engine_error(error))

    def wait(self) -> None:
        """Until OpenVINO's thread has left it, whatever came of it."""
        with suppress(RuntimeError):
            self._request.wait()

    def find_failed(self) -> None:
        """For those who begin: OpenVINO tells nobody when an inference fails."""
        if self._work:
            try:
                self._request.wait_for(0)
            except RuntimeError as error:
                self._end(_engine_error(error))

    def _succeeded(self, _: None) -> None:
        """Called by a thread of OpenVINO's."""
        self._end(self._request.get_output_tensor(0).data[0].copy())

    def _end(self, scores: Scores | EngineError) -> None:
        assert self._work, "a stream ends what it began"
        _, answer, place = self._work
        self._work = None
        self._free.put(self)
        answer.take(place, scores)


def _inferred(request: openvino.InferRequest, clip: Clips) -> Scores | EngineError:
    """Of one clip, (1, *clip_shape): float32 (classes,)."""
    try:
        request.infer({"CLIP": clip}, share_inputs=True)
        scores: Scores = request.get_output_tensor(0).data[0].copy()
    except Exception as error:  # whatever it is: somebody waits for an answer
        return _engine_error(error)
    return scores


def _engine_error(error: Exception) -> EngineError:
    """OpenVINO's reason stands in the last line, below where in its source that was."""
    return EngineError((str(error).strip().splitlines() or [type(error).__name__])[-1][:300])


__all__ = ["OpenVinoEngine"]
