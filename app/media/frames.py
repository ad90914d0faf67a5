"""Where a frame's pixels end up: its scaled size, its centre crop, and its place in the shared region."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.media.handles import region, region_bytes
from app.media.types import ClipRequest

Frame = NDArray[np.uint8]  # (height, width, 3), RGB
Pixels = TypeVar("Pixels")


def scaled_size(width: int, height: int, resize: int) -> tuple[int, int]:
    """Width and height with the short side `resize` and the aspect kept, rounded down as torchvision does."""
    if width <= height:
        return resize, resize * height // width
    return resize * width // height, resize


def centre_crop(frame: Pixels, crop: int) -> Pixels:
    """The `crop` x `crop` centre of a Frame, or a tensor like one, of at least that size; rounds like torchvision's."""
    pixels: Any = frame
    height, width, _ = pixels.shape
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    centre: Pixels = pixels[top : top + crop, left : left + crop]
    return centre


def clip_shape(request: ClipRequest, size: int) -> tuple[int, int, int, int]:
    """(T, crop, crop, 3) of every clip in a region of `size` bytes.

    Raises ValueError for a request that does not fit: it is a fault of the caller, never of the media.
    """
    count, length = request.shape
    if length < 1 or count != len(request.offsets):
        raise ValueError("clips need one length above zero and one offset each")
    if not 0 < request.crop <= request.resize:
        raise ValueError(f"crop {request.crop} must be between 1 and resize {request.resize}")
    shape = (length, request.crop, request.crop, 3)
    last = size - int(np.prod(shape))
    if not all(0 <= offset <= last for offset in request.offsets):
        raise ValueError("a clip lies outside the region")
    return shape


def open_clips(request: ClipRequest) -> list[NDArray[np.uint8]]:
    """Map each clip's place in the region, as a writable uint8 (T, crop, crop, 3); raises as `clip_shape`."""
    shape = clip_shape(request, region_bytes(request.region))  # here because memmap would lengthen the file to fit
    file = region(request.region)
    return [np.memmap(file, np.uint8, "r+", offset, shape) for offset in request.offsets]
