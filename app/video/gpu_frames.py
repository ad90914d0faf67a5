"""Decoding on a device without copying frames to the host: NVDEC's frames become upright RGB tensors of a model's size.

FFmpeg in PyAV's wheel decodes with NVDEC and leaves the frame on the device. PacketReader chooses the packets and the
key frame, as on the CPU. With the device `cpu` a software decoder replaces NVDEC and every later step is the same, so
that tests run without a GPU. Only processes that decode on a device import this module.
"""

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
from app.media.frames import Reader, clip_shape
from app.media.types import ClipRequest, Media, Source
from app.shm.cuda_runtime import CudaError, GpuRegionHandle
from app.video.container import open_container
from app.video.packet_reader import PacketReader

FULL_RANGE = 2  # AVCOL_RANGE_JPEG

_CPU_ONLY = "this video needs a conversion that is made on the CPU"


def hwaccel(number: int) -> HWAccel:
    """Return NVDEC on the GPU with CUDA's `number`, in torch's context, without software fallback."""
    return HWAccel("cuda", number, allow_software_fallback=False, is_hw_owned=True)


def create_context(number: int) -> HWAccel:
    """Create this process's context on a GPU; it lasts as long as the returned object. Raises av.error.FFmpegError.

    FFmpeg must create it before torch does, because it refuses torch's (libavutil/hwcontext_cuda.c).
    """
    return hwaccel(number).create(Codec("h264", "r"))


class NotOnDevice(RuntimeError):
    """Error for a video that needs a conversion that only the CPU path has."""


class DeviceReader(PacketReader):
    """Reader whose frames are uint8 tensors (height, width, 3) on `device`."""

    reuses_container = False  # the file is opened for listing without hardware decoding, so it cannot be reused

    def __init__(self, source: Source, demuxer: str, media: Media, size: tuple[int, int], device: torch.device) -> None:
        if media.interlaced or any(media.crop) or media.conversion == "full":
            raise NotOnDevice(_CPU_ONLY)
        super().__init__(source, demuxer, media, size)
        self._device = device
        self._reformatter = VideoReformatter()

    def _open(self) -> AbstractContextManager[tuple[InputContainer, VideoStream]]:
        on_gpu = self._device.type == "cuda"
        return open_container(self._source, self._demuxer, hwaccel(self._device.index or 0) if on_gpu else None)

    def _display(self, *decoding: Any) -> Iterator[VideoFrame]:
        if self._deinterlaces:  # a later frame turned out to be interlaced
            raise NotOnDevice(_CPU_ONLY)
        return self._decode(*decoding)

    def _to_pixels(self, frame: VideoFrame) -> Tensor:
        if conversion(frame) == "full":
            raise NotOnDevice(_CPU_ONLY)
        if self._device.type == "cpu":
            has_high_bits = any(part.bits > 8 for part in frame.format.components)
            frame = self._reformatter.reformat(frame, format="p010le" if has_high_bits else "nv12", threads=1)
        # Not from_dlpack(plane): it passes its stream, which PyAV rejects. Both use CUDA's default stream anyway
        luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in frame.planes)
        pixels = to_rgb(luma, chroma, self._size, matrix(frame), frame.color_range == FULL_RANGE)
        if pixels.is_cuda:  # the decoder may overwrite this picture as soon as it is released
            torch.cuda.current_stream(self._device).synchronize()
        pixels = torch.rot90(pixels, -self._media.rotation // 90) if self._media.rotation else pixels
        return pixels.flip(1) if self._media.mirrored else pixels


def to_rgb(luma: Tensor, chroma: Tensor, size: tuple[int, int], space: int, full_range: bool) -> Tensor:
    """Return uint8 RGB (height, width, 3) of `size` (width, height) from NV12 or P010.

    `luma` is (H, W), `chroma` (H // 2, W // 2, 2). Scaling comes first and is bicubic, as in FFmpeg.
    """
    planes = [
        interpolate(plane.float(), (size[1], size[0]), mode="bicubic", align_corners=False, antialias=True)[0]
        for plane in (luma[None, None], chroma.permute(2, 0, 1)[None])
    ]
    coefficients, offset = _conversion(space, full_range, 256 if luma.dtype == torch.uint16 else 1, luma.device)
    pixels = torch.cat(planes).permute(1, 2, 0) @ coefficients + offset
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


@cache
def _conversion(space: int, full_range: bool, scale: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (3, 3) rows and a (3,) offset: YUV @ rows + offset is RGB (ITU-T H.273, 8.3)."""
    coefficients = torch.tensor(yuv_matrix(space)).T
    black, spans = (0, (255, 255)) if full_range else (16, (219, 224))
    coefficients = coefficients * (255 / torch.tensor([spans[0], spans[1], spans[1]]))[:, None]
    offset = -torch.tensor([black, 128, 128], dtype=coefficients.dtype) @ coefficients
    return (coefficients / scale).to(device), offset.to(device)


class DeviceDecoder:
    """Decoder whose frames stay on a GPU: it writes to the device memory that another process describes as `slots`."""

    def __init__(self, slots: GpuRegionHandle) -> None:
        self._device = torch.device(slots.device if slots.device == "cpu" else f"{slots.device}:{slots.number}")
        if self._device.type == "cuda":
            if torch.version.cuda is None:
                raise CudaError(f"torch {torch.__version__} knows no CUDA")
            self._context = create_context(slots.number)
        self._runtime = slots.runtime(slots.number)  # the mapping lives as long as the runtime
        address, size = self._runtime.open(slots.handle), slots.region_bytes
        if self._device.type == "cuda":
            self._bytes = torch.as_tensor(_CudaArray(address, size), device=self._device)
        else:
            self._bytes = torch.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype=torch.uint8)
        self._warm_up()

    def open_clips(self, request: ClipRequest) -> list[Tensor]:
        """Return views of the clips in the region; raises as `clip_shape`."""
        shape = clip_shape(request, len(self._bytes))
        count = torch.Size(shape).numel()
        return [self._bytes[offset : offset + count].view(shape) for offset in request.offsets]

    def open_reader(self, source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader:
        """Open a reader with frames on this device; raise NotOnDevice if it cannot convert them."""
        return DeviceReader(source, demuxer, media, size, self._device)

    def finish(self) -> None:
        """Wait until all writes to the region are complete."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _warm_up(self) -> None:
        """Load the CUDA kernels, so that the first file does not wait for them."""
        grey = torch.full((64, 64), 128, dtype=torch.uint8, device=self._device)
        to_rgb(grey, torch.stack([grey[:32, :32]] * 2, dim=-1), (32, 32), 1, full_range=False)
        self.finish()


class _CudaArray:
    """GPU memory for torch (https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html)."""

    def __init__(self, address: int, size: int) -> None:
        interface = {"shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3}
        self.__cuda_array_interface__: dict[str, Any] = interface
