"""Where a frame's pixels end up: its scaled size, its centre crop, and its place in the shared region."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.media import ClipRequest

Frame = NDArray[np.uint8]  # (height, width, 3), RGB


def scaled_size(width: int, height: int, resize: int) -> tuple[int, int]:
    """Width and height with the short side `resize` and the aspect kept, rounded down as torchvision does."""
    if width <= height:
        return resize, resize * height // width
    return resize * width // height, resize


def centre_crop(frame: Frame, crop: int) -> Frame:
    """The `crop` x `crop` centre of a frame of at least that size; rounds like torchvision's CenterCrop."""
    height, width, _ = frame.shape
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    return frame[top : top + crop, left : left + crop]


def open_clips(request: ClipRequest) -> list[NDArray[np.uint8]]:
    """Map each clip's place in the region, as a writable uint8 (T, crop, crop, 3).

    Raises ValueError for a request that does not fit: it is a fault of the caller, never of the media.
    """
    lengths = {len(row) for row in request.times_s}
    if len(lengths) != 1 or 0 in lengths or len(request.times_s) != len(request.offsets):
        raise ValueError("clips need one length above zero and one offset each")
    if not 0 < request.crop <= request.resize:
        raise ValueError(f"crop {request.crop} must be between 1 and resize {request.resize}")
    shape = (lengths.pop(), request.crop, request.crop, 3)
    # Checked here because memmap would lengthen the file to fit.
    last = os.stat(request.region).st_size - int(np.prod(shape))
    if not all(0 <= offset <= last for offset in request.offsets):
        raise ValueError("a clip lies outside the region")
    region = Path(request.region)
    return [np.memmap(region, np.uint8, "r+", offset, shape) for offset in request.offsets]
