"""Frames that are decoded on a device and stay there: NVDEC's pictures become upright RGB of a model's size in torch.

FFmpeg in PyAV's wheel decodes on NVDEC and leaves the picture where it is; which packets, from which key frame, is told
by PacketReader, as on the CPU. With the device `cpu` its software decoder takes NVDEC's place, and every step after it
is the same: so they are tested where there is no GPU. Never imported by a process that does not decode on a device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from av.codec.codec import Codec
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.dlpack import from_dlpack

from app.media.colour import conversion, matrix, yuv_matrix
from app.media.frames import clip_shape
from app.media.types import ClipRequest, Media, Source
from app.shm.cuda_runtime import CudaRuntime
from app.video.readers import PacketReader, Reader, opened

FULL_RANGE = 2  # AVCOL_RANGE_JPEG

_CPU_ONLY = "this video needs a conversion that is made on the CPU"


def hwaccel(number: int) -> HWAccel:
    """NVDEC of the GPU with CUDA's `number`, in the context that torch uses too; no software in its place."""
    return HWAccel("cuda", number, allow_software_fallback=False, is_hw_owned=True)


def take_context(number: int) -> HWAccel:
    """Makes this process's context on a GPU, for as long as what it returns is kept; raises av.error.FFmpegError.

    By FFmpeg, before anybody else: it wants one that sleeps while it waits, and refuses one that torch has made
    ("Primary context already active with incompatible flags", libavutil/hwcontext_cuda.c).
    """
    return hwaccel(number).create(Codec("h264", "r"))


class NotOnDevice(RuntimeError):
    """This video is decoded on the CPU: the device lacks a conversion that it needs."""


class DeviceReader(PacketReader):
    """A Reader whose frames are uint8 tensors (height, width, 3) on `device`."""

    keeps_open = False  # what is opened for a list is not opened for a GPU

    def __init__(self, source: Source, demuxer: str, media: Media, size: tuple[int, int], device: torch.device) -> None:
        if media.interlaced or any(media.crop) or media.conversion == "full":
            raise NotOnDevice(_CPU_ONLY)
        super().__init__(source, demuxer, media, size)
        self._device = device
        self._reformatter = VideoReformatter()

    def _opened(self) -> AbstractContextManager[tuple[InputContainer, VideoStream]]:
        on_gpu = self._device.type == "cuda"
        return opened(self._source, self._demuxer, hwaccel(self._device.index or 0) if on_gpu else None)

    def _shown(self, *decoding: Any) -> Iterator[VideoFrame]:
        if self._deinterlaces:  # since a frame came that is interlaced
            raise NotOnDevice(_CPU_ONLY)
        return self._decoded(*decoding)

    def _upright(self, frame: VideoFrame) -> Tensor:
        if conversion(frame) == "full":
            raise NotOnDevice(_CPU_ONLY)
        if self._device.type == "cpu":
            deep = any(part.bits > 8 for part in frame.format.components)
            frame = self._reformatter.reformat(frame, format="p010le" if deep else "nv12", threads=1)
        # Not by from_dlpack(plane): it names its stream, which PyAV refuses. Both use CUDA's default one anyway.
        light, colour = (from_dlpack(plane.__dlpack__()) for plane in frame.planes)
        pixels = to_rgb(light, colour, self._size, matrix(frame), frame.color_range == FULL_RANGE)
        if pixels.is_cuda:  # the next picture may be written where this one lies as soon as it is let go
            torch.cuda.current_stream(self._device).synchronize()
        pixels = torch.rot90(pixels, -self._media.rotation // 90) if self._media.rotation else pixels
        return pixels.flip(1) if self._media.mirrored else pixels


def to_rgb(light: Tensor, colour: Tensor, size: tuple[int, int], space: int, full_range: bool) -> Tensor:
    """uint8 RGB (height, width, 3) of `size` (width, height) from NV12, or P010 with the light in the upper bits.

    `light` is (H, W), `colour` (H // 2, W // 2, 2). As FFmpeg does it: first scaled, by a bicubic filter.
    """
    parts = [
        interpolate(plane.float(), (size[1], size[0]), mode="bicubic", align_corners=False, antialias=True)[0]
        for plane in (light[None, None], colour.permute(2, 0, 1)[None])
    ]
    rows, offset = _conversion(space, full_range, 256 if light.dtype == torch.uint16 else 1, light.device)
    pixels = torch.cat(parts).permute(1, 2, 0) @ rows + offset
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


@cache
def _conversion(space: int, full_range: bool, scale: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(3, 3) and (3,): YUV times the first plus the second is RGB (Rec. ITU-T H.273, 8.3)."""
    rows = torch.tensor(yuv_matrix(space)).T
    black, spans = (0, (255, 255)) if full_range else (16, (219, 224))
    rows = rows * (255 / torch.tensor([spans[0], spans[1], spans[1]]))[:, None]
    offset = -torch.tensor([black, 128, 128], dtype=rows.dtype) @ rows
    return (rows / scale).to(device), offset.to(device)


class DeviceRegion:
    """`size` bytes at `address` on a device, that somebody else has allocated, as `video.Gpu`."""

    def __init__(self, runtime: CudaRuntime, handle: bytes, size: int, device: torch.device) -> None:
        self._device, self._runtime = device, runtime  # what was opened is there for as long as the runtime is
        address = runtime.open(handle)
        if device.type == "cuda":
            self._bytes = torch.as_tensor(_CudaArray(address, size), device=device)
        else:
            self._bytes = torch.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype=torch.uint8)

    def open_clips(self, request: ClipRequest) -> list[Tensor]:
        shape = clip_shape(request, len(self._bytes))
        count = torch.Size(shape).numel()
        return [self._bytes[offset : offset + count].view(shape) for offset in request.offsets]

    def open_reader(self, source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader:
        return DeviceReader(source, demuxer, media, size, self._device)

    def finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def warm_up(self) -> None:
        """Loads the kernels: the first file should not wait for them."""
        grey = torch.full((64, 64), 128, dtype=torch.uint8, device=self._device)
        to_rgb(grey, torch.stack([grey[:32, :32]] * 2, dim=-1), (32, 32), 1, full_range=False)
        self.finish()


class _CudaArray:
    """Memory on a GPU for torch (https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html)."""

    def __init__(self, address: int, size: int) -> None:
        self.__cuda_array_interface__: dict[str, Any] = {
            "shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3,
        }  # fmt: skip


__all__ = ["DeviceReader", "DeviceRegion", "NotOnDevice", "hwaccel", "take_context", "to_rgb"]
