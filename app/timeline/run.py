"""Run of one timeline: the scan fills slots while Triton infers earlier windows; results arrive in order.

scan ── window in a slot ──▶ Triton ── scores ──▶ recorder       at most INFLIGHT windows between the two ends
      └─ cuts, progress ──────────────────────▶ recorder
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

# Windows go to Triton in groups, because batches cost less per window. INFLIGHT allows one group to be inferred while
# the next is gathered. A window waits for its group at most until the next ScanProgress.
GROUP, INFLIGHT = 6, 12
AGAIN_S = 0.5  # between two attempts while Triton is unavailable
POLL_S = 0.1  # polling interval for cancellation and for waiting uploads
WAY_S = 5.0  # longest pause in favour of uploads: a long overload must not stop all jobs

T = TypeVar("T")


class Cancelled(Exception):
    """Signal that the timeline was cancelled, or that the process is about to end."""


@dataclass(frozen=True, slots=True)
class TimelineRequest:
    """Parameters of one timeline; None selects the model's value (`app/timeline/windows.py`)."""

    model: str
    window_s: float | None
    hop_s: float | None


class TimelineSink(Protocol):
    """Receiver of the results; the event loop calls it with each window once, in order."""

    def resume(self, model: Model, laid: Grid) -> int:
        """Return the number of the first window that has no scores yet."""

    def begin(self, model: Model, media: Media, begin: ScanStarted) -> None:
        """Handle the start of the scan."""
        ...

    def reached(self, time_s: float) -> None:
        """Handle progress: decoding is at `time_s` seconds of the video."""
        ...

    def picture(self, index: int, clip: NDArray[np.uint8]) -> None:
        """Handle a window's pixels as the model sees them, uint8 (T, H, W, 3), valid during the call."""

    def cut(self, time_s: float) -> None:
        """Handle a scene cut at `time_s` seconds."""
        ...

    def window(self, index: int, padded: bool, scores: NDArray[np.float32]) -> None:
        """Handle the scores of a window, float32 (classes,)."""
        ...

    def end(self, decode_s: float, infer_s: float) -> None:
        """Handle the end of the scan, with the seconds spent on decoding and inference."""
        ...


@dataclass(frozen=True, slots=True)
class TimelineServices:
    """Services that a timeline uses; all belong to one event loop."""

    decoder: Decoder
    slots: SlotPool
    triton: Triton
    catalogue: ModelRegistry
    frame_timeout_s: float  # longest time without an event of the scan
    infer_timeout_s: float
    patience_s: float  # longest Triton outage before the timeline fails
    most_windows: int
    uploads_wait: Callable[[], bool]


async def timeline(
    parts: TimelineServices,
    source: Source,
    question: TimelineRequest,
    recorder: TimelineSink,
    stopped: Callable[[], bool],
) -> None:
    """Scan `source` from the window at which `recorder` resumes, and infer every window.

    Raises:
        Cancelled: `stopped` returned True.
        ClipstackError: Probing, decoding, the model or inference failed (`app/errors.py`).
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
    layout = grid(model.frames, model.stride, model.fps, question.window_s, question.hop_s)
    spec = ScanSpec(
        layout, recorder.resume(model, layout), model.resize, model.crop, parts.most_windows, parts.decoder.limits
    )
    async with streaming(source, media, spec, parts.slots, parts.frame_timeout_s, parts.decoder.confinement) as stream:
        await _Run(parts, model, media, recorder).follow(stream)


async def _patiently(
    parts: TimelineServices, ask: Callable[[], Awaitable[T]], is_over: Callable[[], bool] = lambda: False
) -> T:
    """Return the result of `ask`, retrying while Triton is unavailable.

    An unloaded model is not retried.
    """
    deadline = time.monotonic() + parts.patience_s

    def ends(error: NotReady) -> bool:
        return isinstance(error, ModelUnloaded) or is_over() or time.monotonic() > deadline

    return await outlasted(ask, ends, AGAIN_S)


_Sent = asyncio.Queue[tuple[Window, asyncio.Future[Scores]] | None]


class _Run:
    """Windows of one scan on their way through Triton."""

    def __init__(self, parts: TimelineServices, model: Model, media: Media, recorder: TimelineSink) -> None:
        self._parts, self._model, self._media, self._recorder = parts, model, media, recorder
        self._busy = _Busy()
        self._over = False
        # The scan needs its share of a small pool
        self._room = max(1, min(INFLIGHT, parts.slots.count - AHEAD))
        self._held: list[tuple[Window, int | None]] = []  # with slots; None: same frames as the window before
        self._shown: tuple[int, ...] = ()  # frame numbers of the last window
        self._said: asyncio.Future[Scores] | None = None

    async def follow(self, stream: Stream) -> None:
        """Infer and record everything that the scan sends."""
        sent: _Sent = asyncio.Queue(self._room)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._record(sent))
                await self._send(stream, sent)
        except ExceptionGroup as group_error:  # not `except*`, which would wrap the raised error in a group again
            raise group_error.exceptions[0] from None
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
        if window.frames == self._shown:  # a still, or a damaged file with few frames: reuse the scores
            self._parts.slots.release(offset)
            self._held.append((window, None))
        else:
            self._shown = window.frames
            self._held.append((window, offset))

    async def _let_go(self, sent: _Sent) -> None:
        await self._make_way()
        group = [(window, self._answer(offset)) for window, offset in self._held]
        self._held.clear()
        for entry in group:
            await sent.put(entry)

    def _answer(self, offset: int | None) -> asyncio.Future[Scores]:
        if offset is not None:
            self._said = self._inferred(offset)
        assert self._said is not None  # the first window always has a slot
        return self._said

    async def _make_way(self) -> None:
        """Wait until no upload waits, or for WAY_S.

        The scan pauses too, because no slot becomes free for it.
        """
        deadline = time.monotonic() + WAY_S
        while self._held and self._parts.uploads_wait() and time.monotonic() < deadline:
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
        """Return the future scores of the window in a slot; the slot is released once Triton is done with it."""
        call = asyncio.ensure_future(self._infer(offset))

        def done(call: asyncio.Future[Scores]) -> None:
            self._parts.slots.release(offset)
            if not call.cancelled():
                call.exception()  # retrieves the exception, in case nobody awaits the future any more

        call.add_done_callback(done)
        return call

    async def _infer(self, offset: int) -> Scores:
        model = self._model

        async def ask() -> Scores:
            with self._busy:
                return await self._parts.triton.infer(model.name, model.version, offset, model.clip_shape)

        return await _patiently(self._parts, ask, lambda: self._over)


class _Busy:
    """Stopwatch for the time during which at least one block is open."""

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
