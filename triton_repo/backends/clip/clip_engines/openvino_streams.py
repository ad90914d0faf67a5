"""Inference of clips side by side in OpenVINO's streams.

A free stream takes the next clip at once, whichever request it belongs to. Only one thread at a time uses OpenVINO, and
OpenVINO's threads never call our code: two threads that first use its Python bindings at the same time deadlock.
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

# Poll interval while waiting for the oldest clip; shorter while a stream is free for a new clip
LOOK_MS, LOOK_FREE_MS = 4, 1


class Streams:
    """Pool of the inference requests of `compiled`, each of which runs one clip at a time."""

    def __init__(self, compiled: openvino.CompiledModel, classes: int) -> None:
        count = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free = [compiled.create_infer_request() for _ in range(count)]
        self._at_work: list[_Clip] = []
        self._classes = classes

    @property
    def are_idle(self) -> bool:
        """Return whether no clip is running; the last answer may still be on its way."""
        return not self._at_work

    def begin(self, clips: Clips, done: Done) -> None:
        """Start all `clips`, uint8 (b, *clip_shape), and return; collect finished clips while no stream is free."""
        answer = _Answer(len(clips), self._classes, done)
        for place in range(len(clips)):
            while not self._free:
                self.collect()
            request, clip = self._free.pop(), np.ascontiguousarray(clips[place : place + 1])
            try:
                request.start_async({"CLIP": clip}, share_inputs=True)
            except Exception as error:  # the caller waits for an answer, whatever fails
                self._free.append(request)
                answer.take(place, engine_error(error))
            else:
                self._at_work.append(_Clip(request, clip, answer, place))

    def collect(self) -> None:
        """Answer the clips that are done, after waiting briefly for the oldest one."""
        patience_ms = LOOK_FREE_MS if self._free else LOOK_MS
        for clip in list(self._at_work):
            scores = clip.scores(patience_ms)
            patience_ms = 0
            if scores is not None:
                self._free.append(clip.request)
                self._at_work.remove(clip)
                clip.answer.take(clip.place, scores)

    def collect_all(self) -> None:
        """Answer all running clips and return when none is left."""
        while not self.are_idle:
            self.collect()


class StreamsThread:
    """Thread that starts and collects clips, so that callers need not wait for their last clip."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._given: SimpleQueue[Sequence[tuple[Clips, Done]] | None] = SimpleQueue()
        self._begun: SimpleQueue[None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def begin(self, requests: Sequence[tuple[Clips, Done]]) -> None:
        """Pass `requests` to the thread and return when their last clip is started."""
        self._given.put(requests)
        self._begun.get()

    def end(self) -> None:
        """Return when all requests are answered and the thread has ended."""
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
    """Scores of one request's clips, collected one by one."""

    def __init__(self, clips: int, classes: int, done: Done) -> None:
        self._scores, self._missing = np.empty((clips, classes), np.float32), clips
        self._error: EngineError | None = None
        self._done = done

    def take(self, place: int, scores: Scores | EngineError) -> None:
        """Record the result of the clip at `place`; the last one completes the request."""
        self._missing -= 1
        if isinstance(scores, EngineError):
            self._error = scores
        else:
            self._scores[place] = scores
        if not self._missing:
            self._done(self._error or self._scores)


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip that a stream is inferring; OpenVINO reads it in place."""

    request: openvino.InferRequest
    clip: Clips
    answer: _Answer
    place: int

    def scores(self, patience_ms: int) -> Scores | EngineError | None:
        """Return the scores float32 (classes,) or the error, or None if the clip is not done within `patience_ms`."""
        try:
            return scores_of(self.request) if self.request.wait_for(patience_ms) else None
        except Exception as error:  # the caller waits for an answer, whatever fails
            return engine_error(error)


def scores_of(request: openvino.InferRequest) -> Scores:
    """Return the scores float32 (classes,) of the clip that `request` has finished."""
    scores: Scores = request.get_output_tensor(0).data[0].copy()
    return scores


def engine_error(error: Exception) -> EngineError:
    """Return an EngineError with the last line of OpenVINO's message, which holds the reason."""
    return EngineError((str(error).strip().splitlines() or [type(error).__name__])[-1][:300])
