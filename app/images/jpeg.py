"""JPEG files (ITU-T T.81, annex B): extraction of the pixels without the metadata around them."""

import re
from collections.abc import Iterator

from app.errors import UnsupportedMedia
from app.images.picture_file import DAMAGED_PROFILE, PictureFile

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
_DECODED = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))  # baseline, extended, progressive; 0xC9, 0xCA arithmetic
_PROGRESSIVE = frozenset((0xC2, 0xCA))
_OTHER_JPEG = {0xC3: "a lossless JPEG", 0xF7: "a JPEG-LS picture"}
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_NEXT = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # the next marker that ends entropy-coded data


def split_jpeg(data: bytes) -> PictureFile:
    """Return the parts of a JPEG file; raise UnsupportedMedia for a kind of JPEG without a decoder here."""
    return _Jpeg(data).file


class _Jpeg:
    """Parser of a JPEG file's markers."""

    def __init__(self, data: bytes) -> None:
        self._data, self._chunks = data, [b"\xff\xd8"]
        self._profile: dict[int, bytes] = {}
        self._profile_parts = 0
        self._components = 0
        self.file = PictureFile(b"")
        position = self._read_head()
        end = next((end for marker, _, end in self._segments(position) if marker == _EOI), 0)
        self.file.has_end = end > 0
        self._chunks.append(data[position:end] if end else data[position:].rstrip(b"\xff"))
        self.file.pixels = b"".join(self._chunks)
        parts = [self._profile[number] for number in sorted(self._profile)]
        if len(parts) == self._profile_parts:
            self.file.icc = b"".join(parts)
        else:
            self.file.notes.append(DAMAGED_PROFILE)

    def _segments(self, position: int) -> Iterator[tuple[int, int, int]]:
        """Yield marker, start and end of each segment from `position`; skip stray bytes between them."""
        data = self._data
        while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
            marker = data[position + 1]
            if marker in (0x00, 0xFF):
                position += 1
                continue
            if marker in _WITHOUT_LENGTH or marker == _EOI:
                yield marker, position, position + 2
                position += 2
                continue
            end = position + 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
            yield marker, position, end
            position = end
            if marker == _SOS:
                scan = _NEXT.search(data, end)
                position = scan.start() if scan else len(data)

    def _read_head(self) -> int:
        """Keep what decoding needs from before the first scan; return where that scan begins."""
        for marker, start, end in self._segments(2):
            if marker == _SOS:
                if self._components > int.from_bytes(self._data[start + 4 : start + 5], "big"):  # not all are in it
                    self.file.coefficient_bytes = self._coefficient_bytes
                return start
            body = self._data[start + 4 : end]
            if marker in _FRAMES:
                self._read_frame(marker, body)
            if _is_needed(marker, body):
                self._chunks.append(self._data[start:end])
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
            return  # the decoder reports the damage
        if body[0] != 8:
            raise UnsupportedMedia(
                f"this JPEG has {body[0]} bits a colour, which is not supported (8 are): send it as PNG or TIFF"
            )
        self._components = body[5]
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        factors = [body[7 + 3 * number] for number in range(body[5])]
        blocks = [(factor >> 4) * (factor & 15) for factor in factors]
        samples = sum(blocks) / (max(blocks, default=0) or 1)
        self._coefficient_bytes = int(2 * samples * width * height)
        if marker in _PROGRESSIVE:
            self.file.coefficient_bytes = self._coefficient_bytes


def _is_needed(marker: int, body: bytes) -> bool:
    """Return whether a segment before the first scan affects the pixels."""
    if marker == 0xE0:
        return body.startswith(b"JFIF\0") and len(body) >= 14
    if marker == 0xEE:
        return body.startswith(b"Adobe") and len(body) >= 12
    return marker not in _WITHOUT_LENGTH and marker not in (_EOI, _COM) and not 0xE0 <= marker <= 0xEF
