"""Inference of one scan's windows: they go to Triton in groups, and their scores reach the sink in order."""

import asyncio
import time

from app.errors import InferenceTimeout
from app.inference.client import ClipInput, Scores
from app.inference.model import Model
from app.media.types import Media
from app.timeline.process import AHEAD, Stream
from app.timeline.scan import Cut, ScanProgress, ScanStarted, Window
from app.timeline.services import TimelineServices, TimelineSink

# Windows go to Triton in groups, because batches cost less per window. INFLIGHT allows one group to be inferred while
# the next is gathered. A window waits for its group at most until the next ScanProgress.
GROUP, INFLIGHT = 6, 12
POLL_S = 0.1  # polling interval for waiting uploads
MAX_YIELD_S = 5.0  # longest pause in favour of uploads: a long overload must not stop all jobs

_Queue = asyncio.Queue[tuple[Window, asyncio.Future[Scores]] | None]


class WindowInference:
    """Inference of the windows of one scan."""

    def __init__(
        self, services: TimelineServices, model: Model, media: Media, sink: TimelineSink, with_features: bool = False
    ) -> None:
        self._services, self._model, self._media, self._sink = services, model, media, sink
        self._features = model.embedding_size if with_features else 0
        self._stopwatch = _Stopwatch()
        self._finished = False
        # The scan needs its share of a small pool
        self._capacity = max(1, min(INFLIGHT, services.slots.count - AHEAD))
        self._pending: list[tuple[Window, int | None]] = []  # with slots; None: same frames as the window before
        self._last_frames: tuple[int, ...] = ()  # frame numbers of the last window
        self._last_scores: asyncio.Future[Scores] | None = None

    async def follow(self, stream: Stream) -> None:
        """Infer and record everything that the scan sends."""
        queue: _Queue = asyncio.Queue(self._capacity)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._record(queue))
                await self._send(stream, queue)
        except ExceptionGroup as group_error:  # not `except*`, which would wrap the raised error in a group again
            raise group_error.exceptions[0] from None
        finally:
            self._finished = True
            for _, offset in self._pending:
                if offset is not None:
                    self._services.slots.release(offset)
        self._sink.finish(stream.busy_s, self._stopwatch.spent_s)

    async def _send(self, stream: Stream, queue: _Queue) -> None:
        async for event, offset in stream.events():
            match event:
                case ScanStarted():
                    self._sink.start(self._model, self._media, event)
                case Window():
                    self._sink.add_picture(event.index, self._services.slots.view(offset, self._model.clip_shape))
                    self._add(event, offset)
                    if len(self._pending) >= min(GROUP, max(1, self._capacity // 2)):
                        await self._send_group(queue)
                case Cut(time_s):
                    self._sink.add_cut(time_s)
                case ScanProgress(time_s):
                    await self._send_group(queue)
                    self._sink.advance(time_s)
        await self._send_group(queue)
        await queue.put(None)

    def _add(self, window: Window, offset: int) -> None:
        if window.frames == self._last_frames:  # a still, or a damaged file with few frames: reuse the scores
            self._services.slots.release(offset)
            self._pending.append((window, None))
        else:
            self._last_frames = window.frames
            self._pending.append((window, offset))

    async def _send_group(self, queue: _Queue) -> None:
        await self._yield_to_uploads()
        group = [(window, self._scores_for(offset)) for window, offset in self._pending]
        self._pending.clear()
        for entry in group:
            await queue.put(entry)

    def _scores_for(self, offset: int | None) -> asyncio.Future[Scores]:
        if offset is not None:
            self._last_scores = self._start_inference(offset)
        assert self._last_scores is not None  # the first window always has a slot
        return self._last_scores

    async def _yield_to_uploads(self) -> None:
        """Wait until no upload waits, or for MAX_YIELD_S; the scan pauses too, because no slot becomes free for it."""
        deadline = time.monotonic() + MAX_YIELD_S
        while self._pending and self._services.has_waiting_uploads() and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)

    async def _record(self, queue: _Queue) -> None:
        timeout_s = self._services.patience_s + self._services.infer_timeout_s
        while (item := await queue.get()) is not None:
            window, scores = item
            try:
                async with asyncio.timeout(timeout_s):
                    result = await asyncio.shield(scores)
            except TimeoutError:
                raise InferenceTimeout("the model server did not answer in time") from None
            self._sink.add_window(window.index, window.padded, result.values, result.features)

    def _start_inference(self, offset: int) -> asyncio.Future[Scores]:
        """Return the future scores of the window in a slot; the slot is released once Triton is done with it."""
        call = asyncio.ensure_future(self._infer(offset))

        def done(call: asyncio.Future[Scores]) -> None:
            self._services.slots.release(offset)
            if not call.cancelled():
                call.exception()  # retrieves the exception, in case nobody awaits the future any more

        call.add_done_callback(done)
        return call

    async def _infer(self, offset: int) -> Scores:
        model = self._model
        clip = ClipInput(model.name, model.version, offset, model.clip_shape, self._features)

        async def infer() -> Scores:
            with self._stopwatch:
                return await self._services.triton.infer(clip)

        return await self._services.retry(infer, lambda: self._finished)


class _Stopwatch:
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
