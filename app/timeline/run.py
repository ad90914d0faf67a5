"""The way of one timeline: the sweep fills slots while earlier windows are inferred; results come in order.

sweep ── window in a slot ──▶ Triton ── scores ──▶ recorder       at most INFLIGHT windows between the two ends
      └─ cuts, how far ──────────────────────────▶ recorder
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.decoding.pool import Decoder
from app.errors import InferenceTimeout, NotReady, WrongMediaKind
from app.inference.client import ModelUnloaded, Scores, Triton
from app.inference.registry import Model, ModelRegistry
from app.inference.retry import outlasted
from app.media.types import Media, Source
from app.shm.pool import SlotPool
from app.timeline.process import AHEAD, Stream, streaming
from app.timeline.scan import Cut, ScanProgress, ScanSpec, ScanStarted, Window
from app.timeline.windows import Grid, grid

# Windows go to Triton together: in batches an engine calculates less for each. Two groups are more than one that is
# calculated while another is gathered; a window waits for its group no longer than from one Reached to the next.
GROUP, INFLIGHT = 6, 12
AGAIN_S = 0.5  # between two tries while Triton is away
POLL_S = 0.1  # how often it is asked whether to stop, or to go on
WAY_S = 5.0  # uploads have gone first so long: then a group follows, lest a long overload should stop all jobs

T = TypeVar("T")


class Cancelled(Exception):
    """Whoever asked for the timeline does not want it any more, or the process is to end."""


@dataclass(frozen=True, slots=True)
class TimelineRequest:
    """What is asked of one video; None leaves the choice to the model (`app/timeline/windows.py`)."""

    model: str
    window_s: float | None
    hop_s: float | None


class TimelineSink(Protocol):
    """Takes what is found; called from the event loop, windows in order, each once."""

    def resume(self, model: Model, laid: Grid) -> int:
        """The number of the first window that is still to be looked at."""

    def begin(self, model: Model, media: Media, begin: ScanStarted) -> None: ...

    def reached(self, time_s: float) -> None: ...

    def picture(self, index: int, clip: NDArray[np.uint8]) -> None:
        """The window as the model sees it, uint8 (T, H, W, 3); valid during the call."""

    def cut(self, time_s: float) -> None: ...

    def window(self, index: int, padded: bool, scores: NDArray[np.float32]) -> None: ...

    def end(self, decode_s: float, infer_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class TimelineServices:
    """What a timeline is made with; all of it lives in one event loop."""

    decoder: Decoder
    slots: SlotPool
    triton: Triton
    catalogue: ModelRegistry
    frame_timeout_s: float  # the longest silence of the sweep
    infer_timeout_s: float
    patience_s: float  # how long Triton may be away before the timeline is given up
    most_windows: int
    uploads_wait: Callable[[], bool]


async def timeline(
    parts: TimelineServices,
    source: Source,
    question: TimelineRequest,
    recorder: TimelineSink,
    stopped: Callable[[], bool],
) -> None:
    """Looks at the whole of `source`, from where `recorder` stopped.

    Raises Stopped, and what `app/errors.py` lists for probing, decoding, models and inference.
    """
    work = asyncio.ensure_future(_timeline(parts, source, question, recorder))
    try:
        while not (await asyncio.wait([work], timeout=POLL_S))[0]:
            if stopped():
                raise Cancelled
        work.result()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _timeline(parts: TimelineServices, source: Source, question: TimelineRequest, recorder: TimelineSink) -> None:
    model = await _patiently(parts, lambda: parts.catalogue.get(question.model))
    media = await parts.decoder.probe(source)
    if media.kind == "image":
        raise WrongMediaKind("a picture has no timeline: send it to /v1/classify")
    laid = grid(model.frames, model.stride, model.fps, question.window_s, question.hop_s)
    look = ScanSpec(
        laid, recorder.resume(model, laid), model.resize, model.crop, parts.most_windows, parts.decoder.limits
    )
    async with streaming(source, media, look, parts.slots, parts.frame_timeout_s, parts.decoder.confinement) as stream:
        await _Run(parts, model, media, recorder).follow(stream)


async def _patiently(
    parts: TimelineServices, ask: Callable[[], Awaitable[T]], is_over: Callable[[], bool] = lambda: False
) -> T:
    """What `ask` returns; Triton may be away meanwhile. Of a model that is gone nothing more is to be hoped for."""
    deadline = time.monotonic() + parts.patience_s

    def ends(error: NotReady) -> bool:
        return isinstance(error, ModelUnloaded) or is_over() or time.monotonic() > deadline

    return await outlasted(ask, ends, AGAIN_S)


_Sent = asyncio.Queue[tuple[Window, asyncio.Future[Scores]] | None]


class _Run:
    """The windows of one sweep on their way through Triton."""

    def __init__(self, parts: TimelineServices, model: Model, media: Media, recorder: TimelineSink) -> None:
        self._parts, self._model, self._media, self._recorder = parts, model, media, recorder
        self._busy = _Busy()
        self._over = False
        # Of a small pool the sweep needs its share too
        self._room = max(1, min(INFLIGHT, parts.slots.count - AHEAD))
        self._held: list[tuple[Window, int | None]] = []  # and their slots; None: it shows what the one before shows
        self._shown: tuple[int, ...] = ()  # frames of the last window, and what Triton says of it
        self._said: asyncio.Future[Scores] | None = None

    async def follow(self, stream: Stream) -> None:
        sent: _Sent = asyncio.Queue(self._room)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._record(sent))
                await self._send(stream, sent)
        except ExceptionGroup as several:  # not `except*`, which would wrap what is raised here into a group again
            raise several.exceptions[0] from None
        finally:
            self._over = True
            for _, offset in self._held:
                if offset is not None:
                    self._parts.slots.release(offset)
        self._recorder.end(stream.busy_s, self._busy.spent_s)

    async def _send(self, stream: Stream, sent: _Sent) -> None:
        async for event, offset in stream.events():
            match event:
                case ScanStarted():
                    self._recorder.begin(self._model, self._media, event)
                case Window():
                    self._recorder.picture(event.index, self._parts.slots.view(offset, self._model.clip_shape))
                    self._hold(event, offset)
                    if len(self._held) >= min(GROUP, max(1, self._room // 2)):
                        await self._let_go(sent)
                case Cut(time_s):
                    self._recorder.cut(time_s)
                case ScanProgress(time_s):
                    await self._let_go(sent)
                    self._recorder.reached(time_s)
        await self._let_go(sent)
        await sent.put(None)

    def _hold(self, window: Window, offset: int) -> None:
        if window.frames == self._shown:  # a still, or a damaged file with few frames: nothing new to ask
            self._parts.slots.release(offset)
            self._held.append((window, None))
        else:
            self._shown = window.frames
            self._held.append((window, offset))

    async def _let_go(self, sent: _Sent) -> None:
        await self._make_way()
        group = [(window, self._answer(offset)) for window, offset in self._held]
        self._held.clear()
        for each in group:
            await sent.put(each)

    def _answer(self, offset: int | None) -> asyncio.Future[Scores]:
        if offset is not None:
            self._said = self._inferred(offset)
        assert self._said is not None  # the first window has a slot
        return self._said

    async def _make_way(self) -> None:
        """Returns when no upload waits, or WAY_S after; the sweep stops too, as no slot comes free for it."""
        ends = time.monotonic() + WAY_S
        while self._held and self._parts.uploads_wait() and time.monotonic() < ends:
            await asyncio.sleep(POLL_S)

    async def _record(self, sent: _Sent) -> None:
        while (item := await sent.get()) is not None:
            window, scores = item
            try:
                async with asyncio.timeout(self._longest_s()):
                    answer = await asyncio.shield(scores)
            except TimeoutError:
                raise InferenceTimeout("the model server did not answer in time") from None
            self._recorder.window(window.index, window.padded, answer.values)

    def _longest_s(self) -> float:
        return self._parts.patience_s + self._parts.infer_timeout_s

    def _inferred(self, offset: int) -> asyncio.Future[Scores]:
        """Scores of the window in one slot, which comes back when Triton is done with it, however long that takes."""
        call = asyncio.ensure_future(self._infer(offset))

        def done(call: asyncio.Future[Scores]) -> None:
            self._parts.slots.release(offset)
            if not call.cancelled():
                call.exception()  # marks it as seen: nobody may be waiting any more

        call.add_done_callback(done)
        return call

    async def _infer(self, offset: int) -> Scores:
        model = self._model

        async def ask() -> Scores:
            with self._busy:
                return await self._parts.triton.infer(model.name, model.version, offset, model.clip_shape)

        return await _patiently(self._parts, ask, lambda: self._over)


class _Busy:
    """The time during which at least one block is open."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._open = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if not self._open:
            self._since = time.monotonic()
        self._open += 1

    def __exit__(self, *_: object) -> None:
        self._open -= 1
        if not self._open:
            self.spent_s += time.monotonic() - self._since
