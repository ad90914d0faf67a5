"""Frames of videos: the readers' interface, and a frame's scaled size, centre crop and place in the shared region."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.media.handles import region, region_bytes
from app.media.sampling import Timing
from app.media.types import ClipRequest, Media, Source

Frame = NDArray[np.uint8]  # (height, width, 3), RGB
Pixels = TypeVar("Pixels")


class Reader(Protocol):
    """Interface of an open video; frames are numbered from 0 in display order."""

    timing: Timing
    missing: int  # frames that an MP4's index lists and the file lacks; 0 for other containers
    cut_off: bool  # the file is truncated, and all frames of `timing` are present

    def read(self, numbers: Sequence[int]) -> Iterator[Any]:
        """Yield upright frames of the reader's size, one for each of `numbers`, which must rise.

        Each is a Frame, or a tensor from DeviceReader (app/video/gpu_frames.py).
        """


class GpuDecoder(Protocol):
    """Interface of a decoder whose frames stay on a GPU (app/video/gpu_frames.py), which imports torch."""

    def open_clips(self, request: ClipRequest) -> Sequence[Any]:
        """Return the clips' views of the region's mirror; raises ValueError as `clip_shape`."""

    def open_reader(self, source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader:
        """Open a reader whose frames are on the GPU."""

    def finish(self) -> None:
        """Wait until all writes are complete."""


def scaled_size(width: int, height: int, resize: int) -> tuple[int, int]:
    """Return width and height with the short side `resize` and the aspect kept; rounds down like torchvision."""
    if width <= height:
        return resize, resize * height // width
    return resize * width // height, resize


def centre_crop(frame: Pixels, crop: int) -> Pixels:
    """Return the `crop` x `crop` centre of a Frame, or of a tensor of the same layout; rounds like torchvision."""
    pixels: Any = frame
    height, width, _ = pixels.shape
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    centre: Pixels = pixels[top : top + crop, left : left + crop]
    return centre


def clip_shape(request: ClipRequest, size: int) -> tuple[int, int, int, int]:
    """Return (T, crop, crop, 3), the shape of every clip in a region of `size` bytes; raises ValueError."""
    count, length = request.shape
    if length < 1 or count != len(request.offsets):
        raise ValueError("clips need one length above zero and one offset each")
    if not 0 < request.crop <= request.resize:
        raise ValueError(f"crop {request.crop} must be between 1 and resize {request.resize}")
    shape = (length, request.crop, request.crop, 3)
    last_offset = size - int(np.prod(shape))
    if not all(0 <= offset <= last_offset for offset in request.offsets):
        raise ValueError("a clip lies outside the region")
    return shape


def open_clips(request: ClipRequest) -> list[NDArray[np.uint8]]:
    """Return writable views of the clips in the region, uint8 (T, crop, crop, 3); raises as `clip_shape`."""
    shape = clip_shape(request, region_bytes(request.region))  # first, because memmap would extend the file
    file = region(request.region)
    return [np.memmap(file, np.uint8, "r+", offset, shape) for offset in request.offsets]
