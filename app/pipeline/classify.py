"""Classification of one upload: a permit, a model, slots, one trip to a decoder process, inference and labels."""

import asyncio
import math
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.admission.controller import Admission, Permit
from app.admission.deadline import Deadline
from app.admission.disconnect import connected
from app.admission.queue import Lane, lane_of
from app.decoding import warmup
from app.decoding.pool import Decoder
from app.decoding.stats import DecodeStats
from app.decoding.worker import DecodeTask
from app.errors import InferenceTimeout, NotReady, Overloaded, Undecodable, WrongMediaKind
from app.inference.client import ClipInput, Scores, Triton
from app.inference.decision import Selection
from app.inference.model import Model, Prediction, average, embedding, top
from app.inference.registry import ModelRegistry
from app.inference.retry import TritonOutage
from app.inference.triton_errors import ModelUnloaded
from app.media.formats import Format
from app.media.sampling import EvenClips, max_shift_s, span_s
from app.media.types import ClipRequest, DecodedFile, DecodeResult, Media, Source
from app.pipeline.context import RequestContext
from app.shm.cuda_runtime import CudaError
from app.shm.pool import SlotPool

REHEARSAL_S = 5.0
LONE_THREADS = 2  # decoding threads of a request that runs alone; one thread needs less CPU time


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """One upload and the parameters of its classification; `format` is what its first bytes say."""

    source: Source
    format: Format
    model: str
    top_k: int = 1
    clips: int = 1
    sampling: str = "exact"
    keep_first_clip: bool = False
    selection: Selection = Selection()
    embedding: bool = False


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """Result of one classification.

    `decision` has the labels that pass, best first. `first_clip` is the model's input, uint8 (T, H, W, 3), and
    `embedding` the direction of the clips' mean features, float32 (embedding_size,), if they were requested.
    """

    model: Model
    media: Media
    decoded: DecodeResult
    predictions: list[Prediction]
    decision: list[str]
    transport: str
    first_clip: NDArray[np.uint8] | None
    embedding: NDArray[np.float32] | None = None


class _LongVideo(Exception):
    """The file was taken for a short video, and the decoder has found that it is a long one."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Resources that classify the uploads of one worker. Use from the event loop alone."""

    admission: Admission
    outage: TritonOutage
    catalogue: ModelRegistry
    decoder: Decoder
    slots: SlotPool
    triton: Triton
    decode_stats: DecodeStats
    decodes_on_gpu: bool  # decode videos on the GPU when the model takes its clips there
    queue_timeout_s: float
    infer_timeout_s: float

    async def classify(self, request: ClassifyRequest, context: RequestContext) -> ClassifyResult:
        """Classify one upload. Raises the errors that `app/errors.py` lists for the pipeline."""
        context.budget = self.decoder.budget()
        async with context.deadline.enforced(), connected(context.connection):
            try:
                return await self._in_lane(lane_of(request.format.kind, request.source.length), request, context)
            except _LongVideo:
                return await self._in_lane(Lane.LONG, request, context)

    async def rehearse(self, name: str) -> None:
        """Classify the warm-up video with the model `name`, without a permit. Raises like `classify`."""
        context = RequestContext(Deadline(REHEARSAL_S))
        async with context.deadline.enforced():
            request = ClassifyRequest(warmup.source(), Format("video", "mov"), name)
            await self._with_model(await self.catalogue.get(name), request, context, Permit(self.admission, Lane.SHORT))

    async def _in_lane(self, lane: Lane, request: ClassifyRequest, context: RequestContext) -> ClassifyResult:
        context.check_lane(lane)
        context.deadline.check("it waited for this worker")
        async with AsyncExitStack() as held:
            with context.timings.stage("queue"):
                admitted = self.admission.permit(lane, context.deadline, context.owner)
                permit = await held.enter_async_context(admitted)
            model = await self.outage.retry_while_unavailable(lambda: self.catalogue.get(request.model))
            try:
                return await self._with_model(model, request, context, permit)
            except ModelUnloaded:
                # The version was replaced or removed in the meantime. One retry: a second failure is no coincidence.
                model = await self.outage.retry_while_unavailable(lambda: self._successor(model, request.model))
                context.budget = self.decoder.budget()
                return await self._with_model(model, request, context, permit)

    async def _successor(self, model: Model, name: str) -> Model:
        """Return the model for `name` after `model` was unloaded. Raises like `ModelRegistry.get`."""
        await self.catalogue.record_unloaded(model)
        return await self.catalogue.get(name)

    async def _with_model(
        self, model: Model, request: ClassifyRequest, context: RequestContext, permit: Permit
    ) -> ClassifyResult:
        clips, rule = _clips(model, request), model.decision_rule(request.selection)
        if request.embedding:
            model.require_embedding()
        features = model.embedding_size if request.embedding else 0
        with context.timings.stage("queue"):
            offsets = await self._acquire_slots(clips.count)
        try:
            with context.timings.stage("decode"):
                task = self._decode_task(model, request, clips, offsets, permit)
                decoded = await self._decode(task, context)
            if decoded.clips is None:
                raise _LongVideo
            self._record_decoding(decoded.clips, offsets)
            context.timings.split("decode", "probe", decoded.probe_s)
            pixels = decoded.media.width * decoded.media.height
            # Requests with the same have comparable durations
            permit.kind = (model.name, model.version, clips.count, pixels.bit_length(), task.request.threads)
            context.deadline.check("it was decoded")
            first = await self._copy_clip(offsets[0], model) if request.keep_first_clip else None
        except BaseException:
            for offset in offsets:
                self.slots.release(offset)
            raise
        with context.timings.stage("infer"):
            scores = await asyncio.gather(*(self._infer(model, offset, features) for offset in offsets))
        mean = average([clip.values for clip in scores])
        predictions, decision = top(mean, model.labels, request.top_k, rule.indices), rule.decide(mean)
        measured = decoded.clips
        media = replace(decoded.media, duration_s=measured.duration_s, fps=measured.fps, frames=measured.total)
        vectors = [clip.features for clip in scores if clip.features is not None]
        vector = embedding(vectors) if vectors else None
        return ClassifyResult(model, media, measured, predictions, decision, scores[0].transport, first, vector)

    def _decode_task(
        self, model: Model, request: ClassifyRequest, clips: EvenClips, offsets: list[int], permit: Permit
    ) -> DecodeTask:
        clip_request = ClipRequest(
            clips,
            model.resize,
            model.crop,
            tuple(offsets),
            str(self.slots.path),
            on_gpu=self.decodes_on_gpu
            and request.format.kind == "video"
            and self.triton.takes_clips_on_gpu(model.name, model.version),
            threads=LONE_THREADS if permit.is_alone else 1,
        )
        return DecodeTask(request.source, clip_request, format=request.format, only_short=permit.lane is Lane.SHORT)

    async def _decode(self, task: DecodeTask, context: RequestContext) -> DecodedFile:
        """Decode clips into the slots. Raises NotReady when a truncated region caused the failure, not the file."""
        try:
            return await self.decoder.decode(task, context.deadline, context.budget)
        except (Undecodable, ValueError) as error:
            if self.slots.is_whole:
                raise
            raise NotReady("the service has lost its memory for clips; please try again in a moment") from error

    def _record_decoding(self, decoded: DecodeResult, offsets: list[int]) -> None:
        if self.slots.device is not None:
            for offset in offsets:
                self.slots.device.mark_written(offset, decoded.on_gpu)
        self.decode_stats.count(decoded)

    async def _copy_clip(self, offset: int, model: Model) -> NDArray[np.uint8]:
        """Return a copy of the clip in a slot, uint8 (T, H, W, 3). Raises NotReady when its GPU was lost."""
        if self.slots.device is not None:
            try:
                await self.slots.device.download(offset, math.prod(model.clip_shape))
            except CudaError as error:
                raise NotReady("the GPU was lost; please try again in a moment") from error
        return self.slots.view(offset, model.clip_shape).copy()

    async def _acquire_slots(self, count: int) -> list[int]:
        try:
            async with asyncio.timeout(self.queue_timeout_s):
                return await self.slots.acquire(count)
        except TimeoutError:
            raise Overloaded("no room for another clip came free in time; please try again in a moment") from None

    async def _infer(self, model: Model, offset: int, features: int) -> Scores:
        """Return the scores of the clip in one slot; the slot is released only when Triton has finished with it."""

        async def ask() -> Scores:
            scores = await self.triton.infer(ClipInput(model.name, model.version, offset, model.clip_shape, features))
            self.outage.record_success()
            return scores

        call = asyncio.ensure_future(self.outage.retry_while_unavailable(ask))

        def done(call: asyncio.Future[Scores]) -> None:
            self.slots.release(offset)
            if not call.cancelled():
                call.exception()  # mark as retrieved: the waiting request may have ended

        call.add_done_callback(done)
        try:
            async with asyncio.timeout(self.infer_timeout_s):
                return await asyncio.shield(call)
        except TimeoutError:
            raise InferenceTimeout("the model server did not answer in time; please try again in a moment") from None
        finally:
            if not call.done():
                self.slots.quarantine(offset)


def _clips(model: Model, request: ClassifyRequest) -> EvenClips:
    """Return the clips to sample. A picture is one clip of one frame; video models reject it with WrongMediaKind."""
    if request.format.kind == "image":
        if model.kind == "video":
            raise WrongMediaKind(f"the model {model.name} looks at movement: send a video, or choose an image model")
        return EvenClips(1, 0.0)
    shift_s = max_shift_s(request.sampling, span_s(model.frames, model.stride, model.fps))
    return EvenClips(model.frames, model.stride / model.fps, request.clips, shift_s)
