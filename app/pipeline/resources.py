"""Resources of one worker that are built from several settings."""

from app.admission.flags import RejectFlags
from app.admission.queue import Bounds
from app.decoding.pool import Decoder
from app.media.types import Limits
from app.pipeline.upload_guard import UploadGuard
from app.sandbox import SandboxConfig
from app.settings import Settings, available_cpus
from app.shm.cuda_runtime import GpuRegionHandle
from app.shm.pool import SlotPool
from app.video.gpu_decoding import GpuUnavailable


def permit_bounds(settings: Settings) -> Bounds:
    """Return the bounds of permits: a picture finds a decoder beside long videos, a light key a CPU beside a heavy one.

    A running request uses about one CPU.
    """
    return Bounds(long=max(1, settings.decoders - 1), of_key=max(1, available_cpus() // (2 * settings.web_workers)))


def new_decoder(settings: Settings, slots: SlotPool) -> Decoder:
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


def new_upload_guard(settings: Settings, reject_flags: RejectFlags) -> UploadGuard:
    """Return the guard of the folders of uploads and jobs."""
    uploads, data = settings.run_dir / "uploads", settings.data_dir
    return UploadGuard(reject_flags, uploads, data, settings.min_free_mb << 20, settings.longest_answer_s)
