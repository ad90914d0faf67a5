"""Clips side by side in OpenVINO's streams: a stream that is done takes the next clip at once, of whichever request.

OpenVINO is used by one thread at a time, and nothing of ours is called by its threads: two threads that use its Python
bindings for the first time at once wait for each other for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from .interface import Clips, Done, EngineError, Scores

if TYPE_CHECKING:
    import openvino

# Who waits for the clip that was begun first looks so often whether another is done; sooner, where a new one may begin
LOOK_MS, LOOK_FREE_MS = 4, 1


class Streams:
    """As many clips at a time as the streams that `compiled` has, for one clip each."""

    def __init__(self, compiled: openvino.CompiledModel, classes: int) -> None:
        count = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free = [compiled.create_infer_request() for _ in range(count)]
        self._at_work: list[_Clip] = []
        self._classes = classes

    @property
    def are_idle(self) -> bool:
        """Nobody is using OpenVINO here then, though the last answer may still be on its way."""
        return not self._at_work

    def begin(self, clips: Clips, done: Done) -> None:
        """Returns when the last of `clips`, uint8 (b, *clip_shape), is begun; answers others while it waits."""
        answer = _Answer(len(clips), self._classes, done)
        for place in range(len(clips)):
            while not self._free:
                self.collect()
            request, clip = self._free.pop(), np.ascontiguousarray(clips[place : place + 1])
            try:
                request.start_async({"CLIP": clip}, share_inputs=True)
            except Exception as error:  # whatever it is: somebody waits for an answer
                self._free.append(request)
                answer.take(place, engine_error(error))
            else:
                self._at_work.append(_Clip(request, clip, answer, place))

    def collect(self) -> None:
        """Answers what is done, after a wait for the clip that was begun first."""
        patience_ms = LOOK_FREE_MS if self._free else LOOK_MS
        for each in list(self._at_work):
            scores = each.scores(patience_ms)
            patience_ms = 0
            if scores is not None:
                self._free.append(each.request)
                self._at_work.remove(each)
                each.answer.take(each.place, scores)

    def collect_all(self) -> None:
        while not self.are_idle:
            self.collect()


class StreamsThread:
    """Begins and ends clips in a thread of its own, so that who brings some need not wait for the last."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._given: SimpleQueue[Sequence[tuple[Clips, Done]] | None] = SimpleQueue()
        self._begun: SimpleQueue[None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def begin(self, requests: Sequence[tuple[Clips, Done]]) -> None:
        """Returns when the last clip is begun."""
        self._given.put(requests)
        self._begun.get()

    def end(self) -> None:
        """Returns when all is answered."""
        self._given.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (requests := self._next()) is not None:
            for clips, done in requests:
                self._streams.begin(clips, done)
            self._begun.put(None)
        self._streams.collect_all()

    def _next(self) -> Sequence[tuple[Clips, Done]] | None:
        while not self._streams.are_idle:
            try:
                return self._given.get_nowait()
            except Empty:
                self._streams.collect()
        return self._given.get()


class _Answer:
    """The scores of one request's clips, which come one by one."""

    def __init__(self, clips: int, classes: int, done: Done) -> None:
        self._scores, self._missing = np.empty((clips, classes), np.float32), clips
        self._error: EngineError | None = None
        self._done = done

    def take(self, place: int, scores: Scores | EngineError) -> None:
        """Of the clip at `place`; with the last of them the whole is told."""
        self._missing -= 1
        if isinstance(scores, EngineError):
            self._error = scores
        else:
            self._scores[place] = scores
        if not self._missing:
            self._done(self._error or self._scores)


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip that a stream works at; OpenVINO reads it where it is."""

    request: openvino.InferRequest
    clip: Clips
    answer: _Answer
    place: int

    def scores(self, patience_ms: int) -> Scores | EngineError | None:
        """float32 (classes,); None when it is not done within that time."""
        try:
            return scores_of(self.request) if self.request.wait_for(patience_ms) else None
        except Exception as error:  # whatever it is: somebody waits for an answer
            return engine_error(error)


def scores_of(request: openvino.InferRequest) -> Scores:
    """Of the one clip that `request` is done with, float32 (classes,)."""
    scores: Scores = request.get_output_tensor(0).data[0].copy()
    return scores


def engine_error(error: Exception) -> EngineError:
    """OpenVINO's reason stands in the last line, below where in its source that was."""
    return EngineError((str(error).strip().splitlines() or [type(error).__name__])[-1][:300])


__all__ = ["Streams", "StreamsThread", "engine_error", "scores_of"]
