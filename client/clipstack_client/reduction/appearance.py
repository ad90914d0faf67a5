"""Orientation, size in square pixels and colour matrix of a frame, by the service's rules.

Only the service converts some videos: interlaced, high dynamic range, wide gamut, transparency, hidden edges. The
client sends these unchanged.
"""

import math
import struct
from fractions import Fraction
from typing import BinaryIO

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .hidden_edges import hides_edges

HD_WIDTH, HD_HEIGHT = 1280, 720  # untagged video with one of these is BT.709, smaller video BT.601
MOST_STRETCHED = 32

# FFmpeg's values (H.273)
BT709, BT601, LIMITED_RANGE = 1, 5, 1
_MATRICES = {0: BT601, 1: 1, 2: 0, 4: 4, 5: BT601, 6: BT601, 7: 7, 9: 9}
_HDR_TRANSFERS, _WIDE_PRIMARIES = (16, 18), (9, 11, 12)


def shown_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Return width and height in square pixels, before rotation."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if stream.codec.canonical_name == "gif" or not 1 / MOST_STRETCHED <= aspect <= MOST_STRETCHED:
        aspect = Fraction(1)
    return max(1, round(frame.width * aspect)), frame.height


def orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Return a frame's clockwise rotation in degrees, and whether it is then mirrored left to right."""
    data = bytes(frame.side_data.get(Type.DISPLAYMATRIX) or b"")  # type: ignore[call-overload]
    if len(data) != 36:
        return 0, False
    a, b, _, c, d = struct.unpack_from("=5i", data)
    if a * d == b * c:
        return 0, False
    mirrored = a * d < b * c
    return round(math.degrees(math.atan2(b, -a if mirrored else a)) / 90) * 90 % 360, mirrored


def matrix(frame: VideoFrame) -> int:
    """Return the number of the colour matrix of a frame that `check_frame` accepts."""
    named = _MATRICES[int(frame.colorspace)]
    return named or (BT709 if frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT else BT601)


def check_frame(frame: VideoFrame) -> None:
    """Raise ValueError for a frame that only the service converts."""
    has_alpha = frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
    is_grey = frame.format.name.startswith("gray")
    if (
        frame.interlaced_frame
        or has_alpha
        or is_grey
        or int(frame.colorspace) not in _MATRICES
        or frame.color_trc in _HDR_TRANSFERS
        or frame.color_primaries in _WIDE_PRIMARIES
    ):
        raise ValueError("the service alone converts frames such as this one")


def check_container(file: BinaryIO, stream: VideoStream) -> None:
    """Raise ValueError for a file that hides edges of its frames, or has separate transparency."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    if tags.get("alpha_mode") == "1":
        raise ValueError("the service alone shows this video's transparency")
    if hides_edges(file, stream.container.format.name):
        raise ValueError("the service alone hides this video's edges")
