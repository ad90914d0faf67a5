"""Picture files taken apart: what decoding the pixels needs, and the metadata that is used, EXIF and a colour profile.

The decoder sees the pixels alone, so that no damaged, odd or huge metadata can spoil them. Nothing here raises for
damaged metadata: it is left out, and a note says so.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from app.errors import LimitExceeded, UnsupportedMedia
from app.refused_formats import CAMERA_RAW

MAX_PROFILE_BYTES = 4 << 20  # of an ICC profile: the largest common ones, of printers, have 3 MB
MAX_CHUNKS = 100_000  # of a PNG or WebP: a picture of 100 MB in pieces of 1 kB

DAMAGED_EXIF = "the picture's EXIF data is damaged and was ignored"
DAMAGED_PROFILE = "the picture's colour profile is damaged and was ignored"
NO_END = "the file has no end marker; all of the picture is there"


@dataclass(slots=True)
class PictureFile:
    """A picture file without its metadata.

    `pixels` is a file of the same format. `exif` begins with TIFF's byte order, `icc` is a whole ICC profile; both are
    empty where the file has none. `has_end` is False for a JPEG without its end marker, which may be cut off.
    `coefficient_bytes` is what a JPEG decoder holds of the whole picture before it can write the first row.
    """

    pixels: bytes
    exif: bytes = b""
    icc: bytes = b""
    notes: list[str] = field(default_factory=list)
    has_end: bool = True
    coefficient_bytes: int = 0


def take_apart(name: str, data: bytes) -> PictureFile:
    """Return the parts of a picture file; `name` is Pillow's for its format. Raises UnsupportedMedia, LimitExceeded."""
    match name:
        case "JPEG":
            return _Jpeg(data).file
        case "PNG":
            return _take_png_apart(data)
        case "WEBP":
            return _take_webp_apart(data)
        case "HEIF" | "AVIF":
            return PictureFile(_without_metadata_items(data))
        case "TIFF":
            _refuse_camera_raw(data)
    return PictureFile(data)


# JPEG: ITU-T T.81, annex B

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
_DECODED = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))  # baseline, extended, progressive, the last two arithmetic
_PROGRESSIVE = frozenset((0xC2, 0xCA))
_OTHER_JPEG = {0xC3: "a lossless JPEG", 0xF7: "a JPEG-LS picture"}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_NEXT = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # the next marker that ends entropy-coded data


class _Jpeg:
    """Walks through the markers of a JPEG file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._kept = data, [b"\xff\xd8"]
        self._profile: dict[int, bytes] = {}
        self._profile_parts = 0
        self._components = 0
        self.file = PictureFile(b"")
        at = self._read_head()
        end = self._find_end(at)
        self.file.has_end = end > 0
        self._kept.append(data[at:end] if end else data[at:].rstrip(b"\xff"))
        self.file.pixels = b"".join(self._kept)
        parts = [self._profile[number] for number in sorted(self._profile)]
        if len(parts) == self._profile_parts:
            self.file.icc = b"".join(parts)
        else:
            self.file.notes.append(DAMAGED_PROFILE)

    def _segments(self, at: int) -> Iterator[tuple[int, int, int]]:
        """Yield marker, start and end of each segment from `at` on; stray bytes between them are skipped."""
        data = self._data
        while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
            marker = data[at + 1]
            if marker in (0x00, 0xFF):
                at += 1
                continue
            if marker in _ALONE or marker == _EOI:
                yield marker, at, at + 2
                at += 2
                continue
            end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
            yield marker, at, end
            at = end
            if marker == _SOS:
                scan = _NEXT.search(data, end)
                at = scan.start() if scan else len(data)

    def _read_head(self) -> int:
        """Keep what decoding needs of all before the first scan; return where that scan begins."""
        for marker, start, end in self._segments(2):
            if marker == _SOS:
                if self._components > self._data[start + 4 : start + 5][0]:
                    self.file.coefficient_bytes = self._coefficient_bytes
                return start
            body = self._data[start + 4 : end]
            if marker in _FRAMES:
                self._read_frame(marker, body)
            if _is_needed(marker, body):
                self._kept.append(self._data[start:end])
            elif marker == 0xE1 and body.startswith(b"Exif\0") and not self.file.exif:
                self.file.exif = body[6:]
            elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
                self._profile[body[12]], self._profile_parts = body[14:], body[13]
        return len(self._data)

    def _read_frame(self, marker: int, body: bytes) -> None:
        if marker not in _DECODED:
            kind = _OTHER_JPEG.get(marker, "a hierarchical JPEG")
            raise UnsupportedMedia(f"this is {kind}, which is not supported: send it as an ordinary JPEG, or as PNG")
        if len(body) < 6 or len(body) < 6 + 3 * body[5]:
            return  # the decoder says that it is damaged
        if body[0] != 8:
            raise UnsupportedMedia(
                f"this JPEG has {body[0]} bits a colour, which is not supported (8 are): send it as PNG or TIFF"
            )
        self._components = body[5]
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        factors = [body[7 + 3 * number] for number in range(body[5])]
        most = max((factor >> 4) * (factor & 15) for factor in factors) or 1
        samples = sum((factor >> 4) * (factor & 15) for factor in factors) / most
        self._coefficient_bytes = int(2 * samples * width * height)
        if marker in _PROGRESSIVE:
            self.file.coefficient_bytes = self._coefficient_bytes

    def _find_end(self, at: int) -> int:
        """Return the place after the end marker; 0 where there is none."""
        return next((end for marker, _, end in self._segments(at) if marker == _EOI), 0)


def _is_needed(marker: int, body: bytes) -> bool:
    """Return whether a segment before the first scan changes the pixels."""
    if marker == 0xE0:
        return body.startswith(b"JFIF\0") and len(body) >= 14
    if marker == 0xEE:
        return body.startswith(b"Adobe") and len(body) >= 12
    return marker not in _ALONE and marker not in (_EOI, _COM) and not 0xE0 <= marker <= 0xEF


# PNG: https://www.w3.org/TR/png-3/

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"tRNS")
_PNG_FRAMES = (b"acTL", b"fcTL", b"fdAT")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk up to the end chunk; the end may lie behind the data."""
    at, count = len(_PNG_HEAD), 0
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if name == b"IEND":
            return
        yield name, at, end
        at, count = end, count + 1
        if count > MAX_CHUNKS:
            raise LimitExceeded(f"the picture has more than the {MAX_CHUNKS} chunks allowed")


def _take_png_apart(data: bytes) -> PictureFile:
    file, kept = PictureFile(b""), [_PNG_HEAD]
    whole = True
    animated = is_animated_png(data)
    for name, start, end in _png_chunks(data):
        if name == b"CgBI":
            raise UnsupportedMedia("this is a PNG as iOS apps hold them, which is not supported: send the original PNG")
        if name in _PNG_PIXELS[:3] or (animated and name in _PNG_FRAMES):
            kept.append(data[start:end])
            whole = end <= len(data)
        elif not _has_right_crc(data, start, end):
            file.notes.append(_ignored_chunk(name))
        elif name == b"tRNS":
            kept.append(data[start:end])
        elif name == b"eXIf":
            file.exif = data[start + 8 : end - 4]
        elif name == b"iCCP":
            file.icc = _inflated_profile(data[start + 8 : end - 4])
            if not file.icc:
                file.notes.append(DAMAGED_PROFILE)
    if whole:
        kept.append(_PNG_END)
    file.pixels = b"".join(kept)
    file.notes = list(dict.fromkeys(file.notes))
    return file


def _has_right_crc(data: bytes, start: int, end: int) -> bool:
    return end <= len(data) and zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def _ignored_chunk(name: bytes) -> str:
    if name == b"eXIf":
        return DAMAGED_EXIF
    if name == b"iCCP":
        return DAMAGED_PROFILE
    shown = name.decode("ascii", "replace") if name.isalpha() else "of an unknown name"
    return f"the picture's chunk {shown} is damaged and was ignored"


def _inflated_profile(body: bytes) -> bytes:
    """Return the profile of an iCCP chunk; empty where it is damaged or larger than MAX_PROFILE_BYTES."""
    _, _, packed = body.partition(b"\0")
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if stream.eof else b""


def is_animated_png(head: bytes) -> bool:
    """Return whether a PNG is an animation of several frames, as far as its first bytes say."""
    for name, start, end in _png_chunks(head):
        if name == b"acTL" and end <= len(head):
            return int.from_bytes(head[start + 8 : start + 12], "big") > 1
        if name == b"IDAT":
            return False
    return False


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


# TIFF, which EXIF is written in: https://www.loc.gov/preservation/digital/formats/fdd/fdd000022.shtml

_ORIENTATION, _SUBFILE, _PHOTOMETRIC, _DNG = 0x0112, 0x00FE, 0x0106, 0xC612
_SENSOR_DATA = (32803, 34892)  # photometric interpretations: a colour filter array, linear raw
_SIZES = {1: 1, 3: 2, 4: 4}  # of whole numbers, by TIFF's type


def orientation_of(exif: bytes) -> int | None:
    """Return EXIF's orientation, 1 to 8; 1 where it is not given, None where the data is damaged."""
    tags = _first_directory(exif) if exif else {}
    if tags is None:
        return None
    value = tags.get(_ORIENTATION, 1)
    return value if 1 <= value <= 8 else None


def _refuse_camera_raw(data: bytes) -> None:
    """Raise UnsupportedMedia for sensor data in a TIFF file, whose first picture is often only a preview."""
    tags = _first_directory(data) or {}
    if data[8:10] == b"CR" or _DNG in tags or tags.get(_SUBFILE, 0) & 1 or tags.get(_PHOTOMETRIC) in _SENSOR_DATA:
        raise UnsupportedMedia(CAMERA_RAW)


def _first_directory(data: bytes) -> dict[int, int] | None:
    """Return the whole numbers in the first directory of a TIFF file by their tags; None where it is damaged."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"

    def number(at: int, count: int) -> int:
        return int.from_bytes(data[at : at + count], order)

    start = number(4, 4)
    end = start + 2 + 12 * number(start, 2)
    if start + 2 > len(data) or end > len(data):
        return None
    entries = range(start + 2, end, 12)
    return {number(at, 2): number(at + 8, _SIZES.get(number(at + 2, 2), 0)) for at in entries}
