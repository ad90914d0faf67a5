"""Detection of containers that hide edges of the frames: PixelCrop in Matroska, `clap` in MP4 and QuickTime."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

MAX_HEADER_BYTES = 16 << 20  # of the part that describes the tracks
MAX_ELEMENTS = 1000  # at one level

_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_TRACKS, _TRACK, _VIDEO = b"\x16\x54\xae\x6b", b"\xae", b"\xe0"
_PIXEL_CROP = (b"\x54\xcc", b"\x54\xbb", b"\x54\xdd", b"\x54\xaa")


def hides_edges(file: BinaryIO, demuxer: str) -> bool:
    """Return whether edges of some track are hidden; False if the file cannot be parsed."""
    try:
        if demuxer.startswith("mov"):
            return b"clap" in _moov(file)
        return demuxer.startswith("matroska") and any(_crops(_tracks(file)))
    except (struct.error, IndexError, ValueError, OverflowError):
        return False


def _moov(file: BinaryIO) -> bytes:
    at = 0
    for _ in range(MAX_ELEMENTS):
        file.seek(at)
        head = file.read(16)
        length, name = struct.unpack_from(">I4s", head)
        if name == b"moov":
            return file.read(min(length or MAX_HEADER_BYTES, MAX_HEADER_BYTES))
        at += struct.unpack_from(">Q", head, 8)[0] if length == 1 else max(length, 8)
    return b""


def _tracks(file: BinaryIO) -> bytes:
    at = 0
    for _ in range(MAX_ELEMENTS):
        file.seek(at)
        name, start, length = _element(file.read(16), 0)
        if name in (b"", _CLUSTER):
            break
        at += start
        if name == _TRACKS:
            file.seek(at)
            return file.read(min(length, MAX_HEADER_BYTES))
        at += 0 if name == _SEGMENT else length
    return b""


def _crops(tracks: bytes) -> Iterator[int]:
    for name, track in _elements(tracks):
        for inner, video in _elements(track) if name == _TRACK else ():
            for side, pixels in _elements(video) if inner == _VIDEO else ():
                if side in _PIXEL_CROP:
                    yield int.from_bytes(pixels, "big")


def _element(data: bytes, at: int) -> tuple[bytes, int, int]:
    """Return the identifier of the EBML element at `at`, the start of its body and its length; empty at the end."""
    if at >= len(data):
        return b"", at, 0
    start = at + 9 - data[at].bit_length()
    width = 9 - data[start].bit_length()
    if width > 8:
        raise ValueError("not an EBML size")
    return data[at:start], start + width, int.from_bytes(data[start : start + width], "big") & ((1 << 7 * width) - 1)


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(MAX_ELEMENTS):
        name, start, length = _element(data, at)
        if not name:
            return
        at = start + length
        yield name, data[start:at]
