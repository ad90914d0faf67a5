"""GPU state of a decoder process: its CUDA context, and the worker's slots, opened through their handle."""

from app.media.frames import GpuDecoder
from app.shm.cuda_runtime import GpuRegionHandle


class GpuUnavailable(RuntimeError):
    """Error for a process that cannot decode on a GPU; the message gives the reason."""


_decoder: GpuDecoder | None = None
_unavailable_reason = "not requested"


def prepare(slots: GpuRegionHandle) -> None:
    """Open everything on the GPU that decoding needs; `unavailable_reason` and `decoder` report failures."""
    global _decoder, _unavailable_reason
    try:
        from app.video.gpu_frames import DeviceDecoder  # imports torch: 2 s, so only in processes that use it

        _decoder, _unavailable_reason = DeviceDecoder(slots), ""
    except Exception as error:  # from three libraries and a driver: files must still be decoded on the CPU
        _unavailable_reason = f"{type(error).__name__}: {error}"


def unavailable_reason() -> str:
    """Return the reason why this process cannot decode on a GPU; empty if it can."""
    return _unavailable_reason


def decoder() -> GpuDecoder:
    """Return the decoder on the GPU; raise GpuUnavailable if there is none."""
    if _decoder is None:
        raise GpuUnavailable(_unavailable_reason)
    return _decoder
