"""A decoder process's own part of a GPU: its context there, and the worker's slots, opened by their handle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.shm.cuda_runtime import CudaBindings, CudaRuntime

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

    from app.video.decode import GpuDecoder


class GpuUnavailable(RuntimeError):
    """This process cannot decode on a GPU; the message says why."""


@dataclass(frozen=True, slots=True)
class GpuRegionHandle:
    """What a decoder process is told of its worker's slots on the GPU with CUDA's `number`.

    `device` is torch's name for it; `cpu` beside a runtime that is not a GPU's, for tests.
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
    """Takes all that will be needed of the GPU; what goes wrong is told by `why_not` and `here`."""
    global _here, _why_not
    try:
        _here = _open(slots)
        _why_not = ""
    except Exception as error:  # of three libraries and a driver: none of it may keep files from being decoded
        _why_not = f"{type(error).__name__}: {error}"


def _open(slots: GpuRegionHandle) -> GpuDecoder:
    global _context
    import torch  # 2 s, so only where it is used

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
    """Why this process cannot decode on a GPU; empty when it can."""
    return _why_not


def here() -> GpuDecoder:
    """The slots on the GPU; raises NotOnGpu."""
    if _here is None:
        raise GpuUnavailable(_why_not)
    return _here


__all__ = ["GpuRegionHandle", "GpuUnavailable", "here", "prepare", "why_not"]
