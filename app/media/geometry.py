"""Geometry of a displayed frame: its eight orientations, non-square pixels, and hidden edges."""

import math
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

Pixels = TypeVar("Pixels")

MAX_PIXEL_ASPECT = 32  # a larger pixel aspect ratio is damage

_MATRIX_BYTES = 36  # nine 32-bit integers, row by row, in the processor's byte order (libavutil/display.h)


class Crop(NamedTuple):
    """Number of hidden pixels at each edge of the stored frame."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def fits(self, width: int, height: int) -> bool:
        """Return whether the crop leaves pixels of a frame of this size."""
        return min(self) >= 0 and self.left + self.right < width and self.top + self.bottom < height


def display_size(width: int, height: int, crop: Crop, aspect: Fraction | None) -> tuple[int, int]:
    """Return width and height of a stored frame in square pixels, before rotation.

    `aspect` is the width of a stored pixel divided by its height, or None if unknown. The height is kept.
    """
    width, height = width - crop.left - crop.right, height - crop.top - crop.bottom
    if aspect is None or not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        return width, height
    return max(1, round(width * aspect)), height


def orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Return the rotation and mirroring that a frame's display matrix requests.

    The rotation is clockwise in degrees (0, 90, 180 or 270). The second value says whether the rotated frame is then
    mirrored left to right. EXIF's eight orientations are described in the same way. A singular matrix counts as none.
    """
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:  # PyAV 18 lists no side data if it does not know one kind: EXIF in a frame of Motion JPEG
        return round(-frame.rotation / 90) * 90 % 360, False
    if data is None or len(bytes(data)) != _MATRIX_BYTES:
        return 0, False
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    determinant = a * d - b * c
    if determinant == 0:
        return 0, False
    mirrored = determinant < 0
    degrees = math.degrees(math.atan2(b, -a if mirrored else a))
    return round(degrees / 90) * 90 % 360, mirrored


def upright(frame: Pixels, rotation: int, mirrored: bool) -> Pixels:
    """Return a view of an array (height, width, 3), rotated clockwise by `rotation` degrees, then mirrored if asked."""
    pixels: Any = np.rot90(frame, -rotation // 90)  # type: ignore[call-overload]
    upright_view: Pixels = pixels[:, ::-1] if mirrored else pixels
    return upright_view
