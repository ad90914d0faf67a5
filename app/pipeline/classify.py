"""Classification of one upload: admission, probe, sampling, decode, inference and labels."""

import asyncio
import math
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.admission.controller import Admission, Permit
from app.admission.deadline import Deadline
from app.admission.disconnect import connected
from app.admission.pricing import lane_after
from app.admission.queue import Lane
from app.decoding import warmup
from app.decoding.pool import Decoder, TimeBudget
from app.decoding.stats import DecodeStats
from app.errors import Forbidden, InferenceTimeout, NotReady, Overloaded, Undecodable, WrongMediaKind
from app.inference.client import Scores, Triton
from app.inference.postprocess import Prediction, average, top
from app.inference.registry import Model, ModelRegistry
from app.inference.retry import TritonOutage
from app.inference.triton_errors import ModelUnloaded
from app.media.sampling import EvenClips
from app.media.types import ClipRequest, DecodeResult, Media, Source
from app.pipeline.timings import StageTimings
from app.shm.cuda_runtime import CudaError
from app.shm.pool import SlotPool

REHEARSAL_S = 5.0
# Without other requests, larger videos use two threads: a third less time for a tenth more CPU time.
LARGE, LONE_THREADS = 1280 * 720, 2


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """Parameters of one classification."""

    model: str
    top_k: int
    clips: int
    sampling: str = "exact"
    keep_first_clip: bool = False
    owner: str = ""  # id of the API key; empty without keys
    allow: frozenset[Lane] | None = None  # lanes that the API key may use; None for all


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """Result of one classification; `first_clip` is the model's input, uint8 (T, H, W, 3), if it was requested."""

    model: Model
    media: Media
    decoded: DecodeResult
    predictions: list[Prediction]
    transport: str
    first_clip: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Classifier:
    """Resources that classify the uploads of one worker. Use from the event loop alone."""

    admission: Admission
    absence: TritonOutage
    catalogue: ModelRegistry
    decoder: Decoder
    slots: SlotPool
    triton: Triton
    decodings: DecodeStats
    decodes_on_gpu: bool  # decode videos on the GPU when the model takes its clips there
    queue_timeout_s: float
    infer_timeout_s: float

    async def classify(
        self, source: Source, lane: Lane, question: ClassifyRequest, stages: StageTimings, deadline: Deadline,
        connection: socket.socket | None,
    ) -> ClassifyResult:  # fmt: skip
        """Classify one upload, which is in `lane` until it was probed.

        Raises the errors that `app/errors.py` lists for the pipeline.
        """
        async with deadline.enforced(), connected(connection):
            return await self._classify(source, lane, question, stages, deadline)

    async def rehearse(self, name: str) -> None:
        """Classify the warm-up video with the model `name`, without a permit. Raises like `classify`."""
        deadline = Deadline(REHEARSAL_S)
        async with deadline.enforced():
            model, source = await self.catalogue.get(name), warmup.source()
            allowance = self.decoder.allowance()
            media = await self.decoder.probe(source, allowance=allowance)
            request = ClassifyRequest(model.name, 1, 1)
            permit = Permit(self.admission, Lane.SHORT)  # not counted by the admission
            await self._ask_model(source, request, StageTimings(), model, media, permit, deadline, allowance)

    async def _classify(
        self, source: Source, lane: Lane, question: ClassifyRequest, stages: StageTimings, deadline: Deadline
    ) -> ClassifyResult:
        deadline.check("it waited for this worker")
        async with AsyncExitStack() as held:
            with stages.stage("queue"):
                permit = await held.enter_async_context(self.admission.turn(lane, deadline, question.owner))
            model = await self.absence.retry_while_unavailable(lambda: self.catalogue.get(question.model))
            with stages.stage("probe"):
                allowance = self.decoder.allowance()
                media = await self.decoder.probe(source, lane, deadline, allowance, question.owner)
            with stages.stage("queue"):
                await permit.move(allowed(lane_after(media, question.clips, lane), question), deadline)
            try:
                return await self._ask_model(source, question, stages, model, media, permit, deadline, allowance)
            except ModelUnloaded:
                # The version was replaced or removed in the meantime. One retry: a second failure is no coincidence.
                model = await self.absence.retry_while_unavailable(lambda: self._successor(model, question.model))
                again = self.decoder.allowance()
                return await self._ask_model(source, question, stages, model, media, permit, deadline, again)

    async def _successor(self, model: Model, name: str) -> Model:
        """Return the model for `name` after `model` was unloaded. Raises like `ModelRegistry.get`."""
        await self.catalogue.gone(model)
        return await self.catalogue.get(name)

    async def _ask_model(
        self, source: Source, question: ClassifyRequest, stages: StageTimings, model: Model, media: Media,
        turn: Permit, deadline: Deadline, allowance: TimeBudget,
    ) -> ClassifyResult:  # fmt: skip
        clips = _clips(media, model, question)
        threads = LONE_THREADS if turn.is_alone and media.width * media.height >= LARGE else 1
        turn.kind = (model.name, model.version, clips.count, (media.width * media.height).bit_length(), threads)
        with stages.stage("queue"):
            offsets = await self._slots_for(clips.count)
        request = ClipRequest(
            clips, model.resize, model.crop, tuple(offsets), str(self.slots.path), self._on_gpu(media, model), threads
        )  # fmt: skip
        try:
            with stages.stage("decode"):
                decoded = await self._decode(source, media, request, turn, deadline, allowance)
                self._decoded(decoded, offsets)
            deadline.check("it was decoded")
            first = await self._seen(offsets[0], model) if question.keep_first_clip else None
        except BaseException:
            self._release(offsets)
            raise
        with stages.stage("infer"):
            scores = await asyncio.gather(*(self._infer(model, offset) for offset in offsets))
        mean = average([clip.values for clip in scores])
        predictions = top(mean, model.labels, question.top_k)
        measured = replace(media, duration_s=decoded.duration_s, fps=decoded.fps, frames=decoded.total)
        return ClassifyResult(model, measured, decoded, predictions, scores[0].transport, first)

    async def _decode(
        self, source: Source, media: Media, wanted: ClipRequest, turn: Permit, deadline: Deadline, allowance: TimeBudget
    ) -> DecodeResult:
        """Decode clips into the slots. Raises NotReady when a truncated region caused the failure, not the file."""
        try:
            return await self.decoder.decode(source, media, wanted, turn.lane, deadline, allowance, turn.owner)
        except (Undecodable, ValueError) as error:
            if self.slots.whole:
                raise
            raise NotReady("the service has lost its memory for clips; please try again in a moment") from error

    def _on_gpu(self, media: Media, model: Model) -> bool:
        is_candidate = self.decodes_on_gpu and media.kind == "video"
        return is_candidate and self.triton.takes_clips_on_gpu(model.name, model.version)

    def _decoded(self, decoded: DecodeResult, offsets: list[int]) -> None:
        if self.slots.device is not None:
            for offset in offsets:
                self.slots.device.written(offset, decoded.on_gpu)
        self.decodings.count(decoded)

    async def _seen(self, offset: int, model: Model) -> NDArray[np.uint8]:
        """Return a copy of the clip in a slot, uint8 (T, H, W, 3). Raises NotReady when its GPU was lost."""
        if self.slots.device is not None:
            try:
                await self.slots.device.download(offset, math.prod(model.clip_shape))
            except CudaError as error:
                raise NotReady("the GPU was lost; please try again in a moment") from error
        return self.slots.view(offset, model.clip_shape).copy()

    async def _slots_for(self, count: int) -> list[int]:
        try:
            async with asyncio.timeout(self.queue_timeout_s):
                return await self.slots.acquire(count)
        except TimeoutError:
            raise Overloaded("no room for another clip came free in time; please try again in a moment") from None

    def _release(self, offsets: list[int]) -> None:
        for offset in offsets:
            self.slots.release(offset)

    async def _infer(self, model: Model, offset: int) -> Scores:
        """Return the scores of the clip in one slot; the slot is released only when Triton has finished with it."""

        def ask() -> Coroutine[Any, Any, Scores]:
            return self.triton.infer(model.name, model.version, offset, model.clip_shape)

        call = asyncio.ensure_future(self.absence.retry_while_unavailable(ask))

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


def allowed(lane: Lane, question: ClassifyRequest) -> Lane:
    """Return the lane if the API key may use it. Raises Forbidden otherwise."""
    if question.allow is not None and lane not in question.allow:
        lanes = ", ".join(item.name.lower() for item in sorted(question.allow)) or "no file of these"
        raise Forbidden(f"this key is not for {lane.name.lower()} files: it is for {lanes}")
    return lane


def _clips(media: Media, model: Model, question: ClassifyRequest) -> EvenClips:
    """Return the clips to sample. A picture is one clip of one frame; video models reject it with WrongMediaKind."""
    if media.kind == "image":
        if model.kind == "video":
            raise WrongMediaKind(f"the model {model.name} looks at movement: send a video, or choose an image model")
        return EvenClips(1, 0.0)
    return EvenClips(model.frames, model.stride / model.fps, question.clips, question.sampling == "keyframe")
