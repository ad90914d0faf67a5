"""The pipeline of one worker: its event loop and the resources that requests share.

Each worker runs one event loop in a separate thread. Views call `classify` from their threads and block. Only the loop
touches shared state (slots, decoder processes, the connection to Triton). app/pipeline/classify.py handles one upload,
app/timeline handles a whole video, and app/pipeline/maintenance.py does the background work.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from app.admission.controller import Admission, Flags
from app.admission.deadline import Deadline
from app.admission.flags import BacklogFlag, RejectFlags, UploadWaitingFlag
from app.admission.queue import Bounds
from app.decoding.pool import Decoder
from app.decoding.stats import DecodeStats
from app.errors import ClientDisconnected, ClipstackError, NotReady
from app.inference.client import Triton
from app.inference.model import Model
from app.inference.registry import Health, ModelRegistry
from app.inference.retry import TritonOutage
from app.media.formats import Kind
from app.media.types import Limits, Media, Source
from app.pipeline.classify import Classifier, ClassifyRequest, ClassifyResult
from app.pipeline.context import RequestContext
from app.pipeline.loop_thread import LoopThread
from app.pipeline.maintenance import MaintenanceLoop
from app.pipeline.readiness import WorkerRegistry
from app.pipeline.upload_guard import UploadGuard
from app.sandbox import SandboxConfig
from app.settings import Settings, available_cpus
from app.shm.cuda_pool import open_pool
from app.shm.cuda_runtime import GpuRegionHandle
from app.shm.pool import SlotPool
from app.timeline.run import TimelineRequest, timeline
from app.timeline.services import TimelineServices, TimelineSink
from app.uploads.resumable import open_store
from app.video.gpu_decoding import GpuUnavailable

STOP_TIMEOUT_S = 5.0
PROBE_WAIT_S = 2.0
FRESH_S = 0.25  # longest wait for a refresh of the models before a cached model is used

log = logging.getLogger(__name__)
T = TypeVar("T")


class Pipeline:
    """Resources of one worker; only a web worker has a `registry`. Call `start` after fork and `stop` at the end."""

    def __init__(self, settings: Settings, registry: WorkerRegistry | None = None) -> None:
        self._settings, self._receives_uploads = settings, registry is not None
        self._registry = registry or WorkerRegistry(Path(os.devnull))  # publishes nothing
        self._reject_flags = RejectFlags(settings.run_dir / "web" / "shut")
        self._waiting = UploadWaitingFlag(settings.run_dir / "web" / "waiting")
        limits = (settings.max_inflight, settings.max_queue, settings.queue_timeout_s)
        flags = Flags(self._reject_flags, self._waiting)
        self.admission = Admission(*limits, flags, _permit_bounds(settings))
        self._backlog = BacklogFlag(settings.run_dir / "web" / "backlog")
        self._decode_stats = DecodeStats(settings.decoder_device)
        self._outage = TritonOutage(settings.restart_patience_s)
        self._loop = LoopThread()
        self._probing = asyncio.Semaphore(1)

    def start(self, gpu: int | None = None) -> None:
        """Start the event loop and its resources; `gpu` is the CUDA index of the GPU that mirrors this worker's slots.

        Raises:
            RegionError: /dev/shm is too small.
            SandboxError: A required layer of the decoders' sandbox is unavailable.
            GpuUnavailable: Decoding on a GPU is configured but impossible.
        """
        self._registry.update()
        self._loop.start()
        try:
            self._loop.run(self._open(gpu))
        except BaseException:
            self._loop.stop()
            raise
        try:
            self._loop.run(self._decoder.start())
            self._registry.update(decoders=self._decoder.warm, cold=self._decoder.cold)
            self._loop.run(self._maintenance.begin())
        except BaseException:
            self.stop()
            raise
        self._registry.update(serves=True)

    async def _open(self, gpu: int | None) -> None:
        settings = self._settings
        self._slots = open_pool(settings.transport, settings.slots, settings.slot_mb << 20, gpu)
        try:
            self._decoder = _new_decoder(settings, self._slots)
        except GpuUnavailable:
            self._slots.close()
            raise
        self._triton = Triton(
            settings.triton_target, self._slots, settings.transport, settings.triton_key, settings.triton_tls
        )
        self._catalogue = ModelRegistry(self._triton, self._slots.slot_bytes)
        parts = (self.admission, self._outage, self._catalogue, self._decoder, self._slots, self._triton)
        on_gpu, timeouts = settings.decoder_device == "cuda", (settings.queue_timeout_s, settings.infer_timeout_s)
        self._classifier = Classifier(*parts, self._decode_stats, on_gpu, *timeouts)
        # The job worker receives no uploads, and a warm-up would only delay waiting jobs
        rehearse = guard = resumable = None
        if self._receives_uploads:
            rehearse = partial(self._classifier.rehearse, settings.model)
            folders = (settings.run_dir / "uploads", settings.data_dir)
            guard = UploadGuard(self._reject_flags, *folders, settings.min_free_mb << 20, settings.longest_answer_s)
            resumable = open_store(settings)
        resources = (self._slots, self._triton, self._catalogue, self._outage, self.admission, self._backlog)
        region_offered, uploads = settings.transport == "inline", settings.run_dir / "uploads"
        self._maintenance = MaintenanceLoop(
            *resources, self._reject_flags, self._registry, rehearse, region_offered, guard, uploads, resumable
        )

    async def _close(self) -> None:
        await self._maintenance.end()
        await self._triton.close()

    def stop(self) -> None:
        """Stop the decoder processes, release the region and stop the loop. Safe to call twice."""
        if not self._loop.close():
            return
        self._registry.leave()
        self._decoder.stop()
        try:
            self._loop.finish(self._close(), STOP_TIMEOUT_S)
        except TimeoutError:
            log.warning("the connection to Triton did not close in %g s", STOP_TIMEOUT_S)
        finally:
            self._slots.close()
            self._loop.stop()

    def classify(self, request: ClassifyRequest, context: RequestContext) -> ClassifyResult:
        """Classify one upload until its deadline, or until the client closes its connection. Callable from any thread.

        Raises the errors that `app/errors.py` lists for the pipeline.
        """
        try:
            return self._loop.run(self._classifier.classify(request, context))
        except CancelledError:
            if not self._loop.accepts_work:
                raise NotReady("this worker is ending; please try again in a moment") from None
            # The coroutine finished at the moment of the cancellation
            raise ClientDisconnected("the client has closed its connection") from None

    def check_video(self, source: Source) -> Media | None:
        """Return the properties of a video, or raise the error of `Decoder.probe`. Callable from any thread.

        Accepts a file that cannot be probed within PROBE_WAIT_S and returns None; its job reports the error later.
        Files are probed one at a time, so that submissions of jobs never occupy all decoders.
        """

        async def probe() -> Media | None:
            with suppress(TimeoutError, NotReady):
                async with asyncio.timeout(PROBE_WAIT_S), self._probing:
                    return await self._decoder.probe(source)
            return None

        return self._loop.run(probe())

    def timeline(
        self, source: Source, request: TimelineRequest, sink: TimelineSink, is_cancelled: Callable[[], bool]
    ) -> None:
        """Classify all windows of a video and pass the results to `sink`. Callable from any thread.

        Raises:
            Cancelled: Shortly after `is_cancelled()` returns true.
            ClipstackError: As `app/errors.py` lists for the pipeline.
        """
        settings = self._settings
        timeouts = (settings.decode_timeout_s, settings.infer_timeout_s, settings.job_patience_s)
        parts = (self._decoder, self._slots, self._triton, self._catalogue)
        services = TimelineServices(*parts, *timeouts, settings.max_windows, self._waiting.is_recent)
        self._loop.run(timeline(services, source, request, sink, is_cancelled))

    def model(self, name: str, deadline: Deadline | None = None) -> Model:
        """Return the model that answers requests for `name`; callable from any thread.

        A recent list of models is read in the caller's thread, without a wait for the event loop.

        Raises:
            ModelNotFound: No model has this name.
            NotReady: The model or Triton does not answer.
            DeadlineExceeded: The deadline has passed.
        """
        if self._loop.accepts_work and (recent := self._catalogue.recent(name)):
            return recent

        async def get() -> Model:
            async with deadline.enforced() if deadline else nullcontext():
                with suppress(ClipstackError, TimeoutError):  # while Triton is unavailable the cached list is used
                    async with asyncio.timeout(FRESH_S):
                        await self._catalogue.refresh()
                return await self._catalogue.get(name)

        return self._loop.run(get())

    def default_model(self, kind: Kind) -> str:
        """Return the model for files of this kind when a request names none. Raises NotReady before the start."""
        if not self._loop.accepts_work:
            raise NotReady("this worker is not started")
        return self._catalogue.default(kind, self._settings.model, self._settings.picture_model)

    def known_model(self, name: str) -> Model | None:
        """Return the model, or None while Triton is unavailable; raise ModelNotFound if it does not exist."""
        try:
            return self.model(name)
        except NotReady:
            return None

    def health(self) -> Health:
        """Return the models that answer and why others do not. Raises NotReady while Triton is unavailable."""

        async def get() -> Health:  # in a coroutine: a worker that is not started has no registry
            return await self._catalogue.health()

        return self._loop.run(get())

    def load(self) -> dict[str, Any]:
        """Return the transports of this worker's clips, its decoded videos, and its running and waiting requests."""
        transports, decoding = self._triton.transports.facts(), self._decode_stats.facts()
        return {"transports": transports, "decoding": decoding, "admission": self.admission.facts()}

    def facts(self) -> dict[str, Any]:
        """Return the state of this worker for app/metrics. Raises NotReady when the worker is not started."""

        async def collect() -> dict[str, Any]:
            slots, decoder, decoding = self._slots.facts(), self._decoder.facts(), self._decode_stats.facts()
            return {"slots": slots, "decoder": decoder, "decoding": decoding} | {
                "admission": self.admission.details(),
                "transports": self._triton.transports.details(),
                "triton_answers": self._maintenance.triton_answers,
                "models": self._catalogue.readiness(),
                "precisions": self._catalogue.precisions(),
            }

        return self._loop.run(collect())


def _permit_bounds(settings: Settings) -> Bounds:
    """Return the bounds of permits: a picture finds a decoder beside long videos, a light key a CPU beside a heavy one.

    A running request uses about one CPU.
    """
    return Bounds(long=max(1, settings.decoders - 1), of_key=max(1, available_cpus() // (2 * settings.web_workers)))


def _new_decoder(settings: Settings, slots: SlotPool) -> Decoder:
    """Return a decoder whose processes read uploads and jobs and write only into this worker's region.

    Raises GpuUnavailable if decoding on a GPU is configured, and the slots are not on one.
    """
    limits = Limits(settings.max_pixels, settings.max_frames, settings.max_duration_s)
    folders = (settings.run_dir / "uploads", settings.resumable_dir, settings.data_dir / "jobs")
    gpu = _gpu_region(slots) if settings.decoder_device == "cuda" else None
    confinement = SandboxConfig(tuple(map(str, folders)), (str(slots.path),), settings.sandbox, gpu=gpu)
    return Decoder(settings.decoders, settings.decode_timeout_s, limits, confinement)


def _gpu_region(slots: SlotPool) -> GpuRegionHandle:
    """Return the handle of the slots' region on a GPU, for decoder processes. Raises GpuUnavailable without one."""
    if slots.device is None:
        raise GpuUnavailable(
            "CLIPSTACK_DECODER_DEVICE is cuda, and this worker's slots are not on a GPU "
            "(`python -m deploy.gpu.discovery` lists those that can be used)"
        )
    return GpuRegionHandle(slots.device.device, slots.device.handle, slots.device.region_bytes)
