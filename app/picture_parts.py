"""Take picture files apart, so that metadata never reaches a decoder.

Nothing here raises for damaged metadata: it is left out, and a note says so.
"""

import re
from collections.abc import Iterator

from app.errors import LimitExceeded, UnsupportedMedia
from app.jpeg_file import take_jpeg_apart
from app.picture_file import MAX_CHUNKS, MAX_PROFILE_BYTES, PictureFile, first_directory
from app.png_file import take_png_apart
from app.refused_formats import CAMERA_RAW


def take_apart(name: str, data: bytes) -> PictureFile:
    """Return the parts of a picture file; `name` is Pillow's for its format. Raises UnsupportedMedia, LimitExceeded."""
    match name:
        case "JPEG":
            return take_jpeg_apart(data)
        case "PNG":
            return take_png_apart(data)
        case "WEBP":
            return _take_webp_apart(data)
        case "HEIF" | "AVIF":
            return PictureFile(_without_metadata_items(data))
        case "TIFF":
            _refuse_camera_raw(data)
    return PictureFile(data)


# WebP: https://developers.google.com/speed/webp/docs/riff_container

_WEBP_METADATA = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}  # and their flags in VP8X
_WEBP_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")


def _take_webp_apart(data: bytes) -> PictureFile:
    file, kept = PictureFile(b""), []
    for name, start, end in webp_chunks(data):
        body = data[start + 8 : end]
        if name == b"VP8X" and body:
            flags = body[0] & ~sum(_WEBP_METADATA.values())
            kept.append(data[start : start + 8] + bytes([flags]) + data[start + 9 : end + (end & 1)])
        elif name in _WEBP_PIXELS:
            kept.append(data[start : end + (end & 1)])
        elif name == b"EXIF":
            file.exif = body.removeprefix(b"Exif\0\0")
        elif name == b"ICCP":
            file.icc = body[:MAX_PROFILE_BYTES]
    chunks = b"".join(kept)
    file.pixels = b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WEBP" + chunks
    return file


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk of a WebP file; the end may lie behind the data."""
    at, count = 12, 0
    while at + 8 <= len(data) and count <= MAX_CHUNKS:
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at, end
        at, count = end + (end & 1), count + 1
    if count > MAX_CHUNKS:
        raise LimitExceeded(f"the picture has more than the {MAX_CHUNKS} chunks allowed")


# HEIF and AVIF turn pictures by properties of their own, and say that EXIF's orientation does not count:
# https://github.com/nokiatech/heif, ISO/IEC 23008-12, 6.5.10

_METADATA_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))(?:Exif|mime|uri )", re.DOTALL)


def _without_metadata_items(data: bytes) -> bytes:
    """Return the file with its EXIF and XMP items under a type that no decoder reads."""
    return _METADATA_ITEM.sub(rb"\1skip", data, count=MAX_CHUNKS)


# TIFF: camera raw files are TIFF files, whose first picture is often only a preview

_SUBFILE, _PHOTOMETRIC, _DNG = 0x00FE, 0x0106, 0xC612  # tags
_SENSOR_DATA = (32803, 34892)  # photometric interpretations: a colour filter array, linear raw


def _refuse_camera_raw(data: bytes) -> None:
    """Raise UnsupportedMedia for sensor data in a TIFF file."""
    tags = first_directory(data) or {}
    if data[8:10] == b"CR" or _DNG in tags or tags.get(_SUBFILE, 0) & 1 or tags.get(_PHOTOMETRIC) in _SENSOR_DATA:
        raise UnsupportedMedia(CAMERA_RAW)
