"""The whole way of one upload, on one screen: admission, probe, sampling, decode, infer, labels.

Every worker has one event loop in a thread of its own. Views call `classify` from their threads and wait; all
that is shared (slots, decoder processes, the connection to Triton) is touched by the loop alone.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.admission import Admission
from app.cuda_runtime import CudaError
from app.cuda_slots import open_pool
from app.decoder import Decoder
from app.decodings import Decodings
from app.errors import ClipstackError, InferenceTimeout, NotReady, Overloaded, WrongMediaKind
from app.gpu_decoding import GpuSlots, NotOnGpu
from app.inference import ModelGone, Scores, Triton
from app.labels import Prediction, average, top
from app.media import ClipRequest, Decoded, Limits, Media, Source
from app.models import Catalogue, Health, Model
from app.sampling import Clip, clip_times
from app.settings import Settings
from app.slots import SlotPool, is_stale
from app.stages import Stages
from app.timeline.flow import Parts, Recorder, TimelineQuestion, timeline

STOP_TIMEOUT_S = 5.0
HOUSEKEEPING_S = 2.0  # a model that was added is known to every worker after so long

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one upload."""

    model: str
    top_k: int
    clips: int
    keep_first_clip: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found; `first_clip` is uint8 (T, H, W, 3) as the model saw it, if it was asked for."""

    model: Model
    media: Media
    decoded: Decoded
    predictions: list[Prediction]
    transport: str
    first_clip: NDArray[np.uint8] | None


class Pipeline:
    """Everything one worker needs to answer; `start` after fork, `stop` at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decodings = Decodings(settings.decoder_device)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, gpu: int | None = None) -> None:
        """Starts the event loop and what lives in it.

        Raises RegionError when /dev/shm is too small, NotOnGpu when videos are to be decoded on a GPU and cannot be.

        `gpu` is CUDA's number of the GPU that holds this worker's slots too, None where there is none.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_live, args=(self._loop,), name="pipeline", daemon=True)
        self._thread.start()
        settings = self._settings
        limits = Limits(settings.max_pixels, settings.max_frames, settings.max_duration_s)
        self._slots = open_pool(settings.transport, settings.slots, settings.slot_mb << 20, gpu)
        try:
            slots = _gpu_slots(self._slots) if settings.decoder_device == "cuda" else None
            self._decoder = Decoder(settings.decoders, settings.decode_timeout_s, limits, gpu=slots)
            self._decoder.start()
        except BaseException:
            self._slots.close()
            raise
        self._run(self._open())

    async def _open(self) -> None:
        settings = self._settings
        self._triton = Triton(settings.triton_address, self._slots, settings.transport)
        self._catalogue = Catalogue(self._triton, self._slots.slot_bytes)
        self._admission = Admission(settings.max_inflight, settings.max_queue, settings.queue_timeout_s)
        self._housekeeping = asyncio.ensure_future(self._keep_house())

    async def _keep_house(self) -> None:
        """Does ahead what requests would otherwise wait for, and tidies up; for as long as the worker lives."""
        offered = self._settings.transport == "inline"
        while True:
            try:
                await self._catalogue.refresh()
                if not offered:
                    offered = True  # once: where it is refused, requests find out when to offer it again
                    await self._triton.register()
                # A killed worker could not take its region back, and Triton would keep that memory mapped.
                for name in filter(is_stale, await self._triton.regions()):
                    await self._triton.forget(name)
            except ClipstackError as error:
                log.debug("Triton does not answer: %s", error)
            except Exception:
                log.exception("housekeeping goes on after a mistake")
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _close(self) -> None:
        self._housekeeping.cancel()
        await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self._triton.close()

    def stop(self) -> None:
        """Ends decoder processes, gives the region back, ends the loop; safe to call twice."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        self._decoder.stop()
        try:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(STOP_TIMEOUT_S)
        except TimeoutError:
            log.warning("the connection to Triton did not close in %g s", STOP_TIMEOUT_S)
        finally:
            self._slots.close()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(STOP_TIMEOUT_S)

    def classify(self, source: Source, question: Question, stages: Stages) -> Answer:
        """Answers one upload; raises what `app/errors.py` lists for the pipeline. Called from any thread."""
        return self._run(self._classify(source, question, stages))

    def timeline(
        self, source: Source, question: TimelineQuestion, recorder: Recorder, stopped: Callable[[], bool]
    ) -> None:
        """Looks at the whole of a video and tells `recorder`; raises Stopped soon after `stopped()` is true.

        Besides that raises what `app/errors.py` lists for the pipeline. Called from any thread.
        """
        settings = self._settings
        parts = Parts(
            self._decoder, self._slots, self._triton, self._catalogue,
            settings.decode_timeout_s, settings.infer_timeout_s, settings.job_patience_s, settings.max_windows,
        )  # fmt: skip
        self._run(timeline(parts, source, question, recorder, stopped))

    def model(self, name: str) -> Model:
        """The model that a question of this name would be answered by; raises ModelNotFound or NotReady."""
        return self._run(self._catalogue.get(name))

    def has_model(self, name: str) -> None:
        """Raises ModelNotFound for a model that is surely not there; passes while Triton is away."""
        with suppress(NotReady):
            self.model(name)

    def health(self) -> Health:
        """Every model that answers, and why others do not; raises NotReady while Triton is away."""
        return self._run(self._catalogue.health())

    def transports(self) -> dict[str, Any]:
        """How this worker's clips reach Triton, and how often each way was refused."""
        return self._triton.transports.facts()

    def decoding(self) -> dict[str, Any]:
        """Where this worker's videos were decoded, and how often."""
        return self._decodings.facts()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise NotReady("this worker is not started")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _classify(self, source: Source, question: Question, stages: Stages) -> Answer:
        with stages.stage("queue"):
            await self._admission.enter()
        try:
            model = await self._catalogue.get(question.model)
            with stages.stage("probe"):
                media = await self._decoder.probe(source)
            try:
                return await self._ask_model(source, question, stages, model, media)
            except ModelGone:
                # Its last version was replaced or removed since we looked. Once: two in a row is no coincidence.
                await self._catalogue.gone(model)
                model = await self._catalogue.get(question.model)
                return await self._ask_model(source, question, stages, model, media)
        finally:
            self._admission.leave()

    async def _ask_model(
        self, source: Source, question: Question, stages: Stages, model: Model, media: Media
    ) -> Answer:
        clips = _clips(media, model, question.clips)
        with stages.stage("queue"):
            offsets = await self._slots_for(len(clips))
        wanted = ClipRequest(
            times_s=tuple(clip.times_s for clip in clips), resize=model.resize, crop=model.crop,
            offsets=tuple(offsets), region=str(self._slots.path), on_gpu=self._on_gpu(media, model),
        )  # fmt: skip
        try:
            with stages.stage("decode"):
                decoded = await self._decoder.decode(source, media, wanted)
                self._decoded(decoded, offsets)
            first = await self._seen(offsets[0], model) if question.keep_first_clip else None
        except BaseException:
            self._release(offsets)
            raise
        with stages.stage("infer"):
            scores = await asyncio.gather(*(self._infer(model, offset) for offset in offsets))
        mean = average([clip.values for clip in scores])
        predictions = top(mean, model.labels, question.top_k)
        return Answer(model, media, decoded, predictions, scores[0].transport, first)

    def _on_gpu(self, media: Media, model: Model) -> bool:
        wanted = self._settings.decoder_device == "cuda" and media.kind == "video"
        return wanted and self._triton.takes_clips_on_gpu(model.name, model.version)

    def _decoded(self, decoded: Decoded, offsets: list[int]) -> None:
        if self._slots.device is not None:
            for offset in offsets:
                self._slots.device.written(offset, decoded.on_gpu)
        self._decodings.count(decoded)

    async def _seen(self, offset: int, model: Model) -> NDArray[np.uint8]:
        """The clip in a slot, uint8 (T, H, W, 3); raises NotReady when it was lost with a GPU."""
        if self._slots.device is not None:
            try:
                await self._slots.device.download(offset, math.prod(model.clip_shape))
            except CudaError as error:
                raise NotReady("the GPU was lost; please try again in a moment") from error
        return self._slots.view(offset, model.clip_shape).copy()

    async def _slots_for(self, count: int) -> list[int]:
        try:
            return await asyncio.wait_for(self._slots.acquire(count), self._settings.queue_timeout_s)
        except TimeoutError:
            raise Overloaded("no room for another clip came free in time; please try again in a moment") from None

    def _release(self, offsets: list[int]) -> None:
        for offset in offsets:
            self._slots.release(offset)

    async def _infer(self, model: Model, offset: int) -> Scores:
        """Scores of the clip in one slot; the slot comes back when Triton is done with it, however long that takes."""
        call = asyncio.ensure_future(self._triton.infer(model.name, model.version, offset, model.clip_shape))

        def done(call: asyncio.Future[Scores]) -> None:
            self._slots.release(offset)
            if not call.cancelled():
                call.exception()  # marks it as seen: nobody may be waiting any more

        call.add_done_callback(done)
        try:
            return await asyncio.wait_for(asyncio.shield(call), self._settings.infer_timeout_s)
        except TimeoutError:
            raise InferenceTimeout("the model server did not answer in time; please try again in a moment") from None


def _gpu_slots(slots: SlotPool) -> GpuSlots:
    """What decoder processes are told of the slots' twin on a GPU; raises NotOnGpu where there is none."""
    if slots.device is None:
        raise NotOnGpu(
            "CLIPSTACK_DECODER_DEVICE is cuda, and this worker's slots are not on a GPU "
            "(`python -m deploy.gpus` lists those that can be used)"
        )
    return GpuSlots(slots.device.device, slots.device.handle, slots.device.region_bytes)


def _live(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _clips(media: Media, model: Model, count: int) -> tuple[Clip, ...]:
    """Where the clips lie; a picture is one clip of one frame, and only an image model can look at it."""
    if media.kind == "image":
        if model.kind == "video":
            raise WrongMediaKind(f"the model {model.name} looks at movement: send a video, or choose an image model")
        return (Clip((0.0,)),)
    return clip_times(media.duration_s or 0.0, media.fps, model.frames, model.stride, model.fps, count)
