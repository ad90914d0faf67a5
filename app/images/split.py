"""Separation of pixels and metadata, so that metadata never reaches a decoder.

Damaged metadata raises no error here: it is dropped, and a note says so.
"""

import re

from app.errors import UnsupportedMedia
from app.images.jpeg import split_jpeg
from app.images.picture_file import MAX_CHUNKS, PictureFile, first_directory
from app.images.png import split_png
from app.images.webp import split_webp
from app.media.refused_formats import CAMERA_RAW


def split_picture(name: str, data: bytes) -> PictureFile:
    """Return the parts of a picture file; `name` is Pillow's name of its format.

    Raises UnsupportedMedia for a variant that is not supported, and LimitExceeded for too many chunks.
    """
    match name:
        case "JPEG":
            return split_jpeg(data)
        case "PNG":
            return split_png(data)
        case "WEBP":
            return split_webp(data)
        case "HEIF" | "AVIF":
            hidden = _METADATA_ITEM.sub(rb"\1skip", data, count=MAX_CHUNKS)  # a type that no decoder reads
            return PictureFile(hidden, coding=_coding(data))
        case "TIFF":
            _refuse_camera_raw(data)
    return PictureFile(data)


# HEIF and AVIF have properties for rotation, and the standard says to ignore EXIF's orientation:
# https://github.com/nokiatech/heif, ISO/IEC 23008-12, 6.5.10

_METADATA_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))(?:Exif|mime|uri )", re.DOTALL)


def _coding(data: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer of the first property that has them (nclx), which is the picture's own."""
    index = data.find(b"colrnclx")
    if index < 0 or index + 12 > len(data):
        return None
    return int.from_bytes(data[index + 8 : index + 10], "big"), int.from_bytes(data[index + 10 : index + 12], "big")


# Camera raw files are TIFF files, whose first picture is often only a preview

_SUBFILE, _PHOTOMETRIC, _DNG = 0x00FE, 0x0106, 0xC612  # tags
_SENSOR_DATA = (32803, 34892)  # photometric interpretations: colour filter array, linear raw


def _refuse_camera_raw(data: bytes) -> None:
    """Raise UnsupportedMedia if a TIFF file contains sensor data."""
    tags = first_directory(data) or {}
    if data[8:10] == b"CR" or _DNG in tags or tags.get(_SUBFILE, 0) & 1 or tags.get(_PHOTOMETRIC) in _SENSOR_DATA:
        raise UnsupportedMedia(CAMERA_RAW)
