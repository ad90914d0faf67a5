"""Quick check whether a video may be cut off; the whole file is then sent, and the service reports the truncation.

The service checks more exactly (app/video/truncation.py). A false positive only means that the file is sent unchanged.
"""

from typing import BinaryIO

TS_PACKETS = (188, 192, 204)
HEAD_BYTES = 4096


def may_be_cut_off(file: BinaryIO, length: int) -> bool:
    """Return whether the first and last bytes of a file suggest that it is cut off."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head[:4] == b"RIFF":
        return 8 + int.from_bytes(head[4:8], "little") > length
    if head[:3] == b"FLV":
        return _flv(file, length)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _matroska(head) > length
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"):
        return _mp4(file, length)
    if head[:1] == b"\x47" or head[4:5] == b"\x47":
        return all(length % size for size in TS_PACKETS)
    return False


def _flv(file: BinaryIO, length: int) -> bool:
    """Return whether the last four bytes are not the length of the last tag."""
    file.seek(max(0, length - 4))
    tag = int.from_bytes(file.read(4), "big")
    file.seek(max(0, length - 4 - tag))
    return int.from_bytes(file.read(4)[1:], "big") + 11 != tag


def _matroska(head: bytes) -> int:
    """Return where the segment ends, or 0 if its length is unknown."""
    start, length = _size(head, 4)
    start, length = _size(head, start + length + 4)
    return start + length


def _size(head: bytes, at: int) -> tuple[int, int]:
    """Return where an element's body starts, and its length, or 0 if that is unknown."""
    width = 9 - head[at].bit_length() if at < len(head) else 9
    value = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
    return at + width, 0 if width > 8 or value == (1 << 7 * width) - 1 else value


def _mp4(file: BinaryIO, length: int) -> bool:
    """Return whether a box ends after the file."""
    place = 0
    while place < length:
        file.seek(place)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < 8:
            return False  # the box extends to the end of the file, or this is no box
        place += size
    return place > length
