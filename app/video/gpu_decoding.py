"""GPU state of a decoder process: its CUDA context, and the worker's slots, opened through their handle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.shm.cuda_runtime import GpuRegionHandle

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

    from app.media.reader import GpuDecoder


class GpuUnavailable(RuntimeError):
    """Error for a process that cannot decode on a GPU; the message gives the reason."""


_context: HWAccel | None = None
_decoder: GpuDecoder | None = None
_unavailable_reason = "not requested"


def prepare(slots: GpuRegionHandle) -> None:
    """Open everything on the GPU that decoding needs; `unavailable_reason` and `decoder` report failures."""
    global _decoder, _unavailable_reason
    try:
        _decoder = _open(slots)
        _unavailable_reason = ""
    except Exception as error:  # from three libraries and a driver: files must still be decoded on the CPU
        _unavailable_reason = f"{type(error).__name__}: {error}"


def _open(slots: GpuRegionHandle) -> GpuDecoder:
    global _context
    import torch  # 2 s, so only in processes that use it

    from app.video.gpu_frames import DeviceDecoder, create_context

    device = torch.device(slots.device if slots.device == "cpu" else f"{slots.device}:{slots.number}")
    if device.type == "cuda":
        if torch.version.cuda is None:
            raise GpuUnavailable(f"torch {torch.__version__} knows no CUDA")
        _context = create_context(slots.number)
    decoder = DeviceDecoder(slots.runtime(slots.number), slots.handle, slots.region_bytes, device)
    decoder.warm_up()
    return decoder


def unavailable_reason() -> str:
    """Return the reason why this process cannot decode on a GPU; empty if it can."""
    return _unavailable_reason


def decoder() -> GpuDecoder:
    """Return the decoder on the GPU; raise GpuUnavailable if there is none."""
    if _decoder is None:
        raise GpuUnavailable(_unavailable_reason)
    return _decoder
