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

from ..interface import Clips, Done, EngineError, Rows

if TYPE_CHECKING:
    import openvino

# Poll interval while waiting for the oldest clip; shorter while a stream is free for a new clip
LOOK_MS, LOOK_FREE_MS = 4, 1


class Streams:
    """Pool of the inference requests of `compiled`, each of which runs one clip at a time."""

    def __init__(self, compiled: openvino.CompiledModel, width: int) -> None:
        """Run `compiled`, whose clips each have a row of `width` numbers."""
        self.count = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free = [compiled.create_infer_request() for _ in range(self.count)]
        self._at_work: list[_Clip] = []
        self._width = width

    @property
    def are_idle(self) -> bool:
        """Return whether no clip is running; the last answer may still be on its way."""
        return not self._at_work

    def begin(self, clips: Clips, done: Done) -> None:
        """Start all `clips`, uint8 (b, *clip_shape), and return; collect finished clips while no stream is free."""
        answer = _Answer(len(clips), self._width, done)
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
            row = clip.row(patience_ms)
            patience_ms = 0
            if row is not None:
                self._free.append(clip.request)
                self._at_work.remove(clip)
                clip.answer.take(clip.place, row)

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
    """Rows of one request's clips, collected one by one."""

    def __init__(self, clips: int, width: int, done: Done) -> None:
        self.width = width
        self._rows, self._missing = np.empty((clips, width), np.float32), clips
        self._error: EngineError | None = None
        self._done = done

    def take(self, place: int, row: Rows | EngineError) -> None:
        """Record the result of the clip at `place`; the last one completes the request."""
        self._missing -= 1
        if isinstance(row, EngineError):
            self._error = row
        else:
            self._rows[place] = row
        if not self._missing:
            self._done(self._error or self._rows)


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip that a stream is inferring; OpenVINO reads it in place."""

    request: openvino.InferRequest
    clip: Clips
    answer: _Answer
    place: int

    def row(self, patience_ms: int) -> Rows | EngineError | None:
        """Return the row float32 (width,) or the error, or None if the clip is not done within `patience_ms`."""
        try:
            return row_of(self.request, self.answer.width) if self.request.wait_for(patience_ms) else None
        except Exception as error:  # the caller waits for an answer, whatever fails
            return engine_error(error)


def row_of(request: openvino.InferRequest, width: int) -> Rows:
    """Return the scores and features float32 (width,) of the clip that `request` has finished."""
    scores, row = request.get_output_tensor(0).data[0], np.empty(width, np.float32)
    row[: len(scores)] = scores
    if width > len(scores):
        row[len(scores) :] = request.get_output_tensor(1).data.ravel()
    return row


def engine_error(error: Exception) -> EngineError:
    """Return an EngineError with the last line of OpenVINO's message, which holds the reason."""
    return EngineError((str(error).strip().splitlines() or [type(error).__name__])[-1][:300])
