"""GPU state of a decoder process: its CUDA context, and the worker's slots, opened through their handle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.shm.cuda_runtime import CudaBindings, CudaRuntime

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

    from app.video.decode import GpuDecoder


class GpuUnavailable(RuntimeError):
    """Error for a process that cannot decode on a GPU; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class GpuRegionHandle:
    """Description of a worker's slots on the GPU with CUDA's `number`, for a decoder process.

    `device` is torch's name for the GPU; tests use `cpu` with a runtime that is not a GPU's.
    """

    number: int
    handle: bytes
    region_bytes: int
    runtime: Callable[[int], CudaRuntime] = CudaBindings
    device: str = "cuda"


_context: HWAccel | None = None
_here: GpuDecoder | None = None
_why_not = "nobody asked for it"


def prepare(slots: GpuRegionHandle) -> None:
    """Open everything on the GPU that decoding needs; `why_not` and `here` report failures."""
    global _here, _why_not
    try:
        _here = _open(slots)
        _why_not = ""
    except Exception as error:  # from three libraries and a driver: files must still be decoded on the CPU
        _why_not = f"{type(error).__name__}: {error}"


def _open(slots: GpuRegionHandle) -> GpuDecoder:
    global _context
    import torch  # 2 s, so only in processes that use it

    from app.video.gpu_frames import DeviceRegion, take_context

    device = torch.device(slots.device if slots.device == "cpu" else f"{slots.device}:{slots.number}")
    if device.type == "cuda":
        if torch.version.cuda is None:
            raise GpuUnavailable(f"torch {torch.__version__} knows no CUDA")
        _context = take_context(slots.number)
    region = DeviceRegion(slots.runtime(slots.number), slots.handle, slots.region_bytes, device)
    region.warm_up()
    return region


def why_not() -> str:
    """Return the reason why this process cannot decode on a GPU; empty if it can."""
    return _why_not


def here() -> GpuDecoder:
    """Return the decoder on the GPU; raise GpuUnavailable if there is none."""
    if _here is None:
        raise GpuUnavailable(_why_not)
    return _here


__all__ = ["GpuRegionHandle", "GpuUnavailable", "here", "prepare", "why_not"]
