"""Detection of files that were cut off, from their structure and never from the duration in the header.

Only containers that stay readable without their end are examined; for MP4 that is the fragmented kind. A truncated
plain MP4 has lost its index, or frames that the index lists.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from app.media.formats import HEAD_BYTES, TS_PACKETS
from app.media.types import Source

TAIL_BYTES = 4 << 20  # searched at the end for a Matroska cluster: the largest common clusters are 5 s long
MAX_STEPS = 200_000  # limit of boxes, tags or elements visited; 4 hours of fragments have fewer
TS_ROW = 4  # packets in a row that confirm their alignment

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xEC, 0xBF, 0x5854, 0xAF}  # identifiers of a cluster's children
_TOP_LEVEL = {0x1F43B675, 0x1C53BB6B, 0x1254C367, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1941A469, 0x1043A770}
_BOXES = {b"moof", b"mdat", b"styp", b"sidx", b"mfra", b"free", b"skip", b"emsg", b"prft", b"moov", b"ftyp", b"uuid"}


class Ending(NamedTuple):
    """End of a file."""

    cut_off: bool  # the file ends before its structure does
    fragmented: bool = False  # an MP4 with an index for each fragment, which survives a cut
    trailing_bytes: int = 0  # bytes at the end that are part of an index, which FFmpeg would reject


class _Bytes:
    """Random access to a source's bytes."""

    def __init__(self, file: BinaryIO, source: Source) -> None:
        self._file, self._start, self.length = file, source.offset, source.length

    def read(self, position: int, count: int) -> bytes:
        """Return up to `count` bytes from `place`; fewer at the end."""
        count = min(count, self.length - position)
        return os.pread(self._file.fileno(), count, self._start + position) if position >= 0 and count > 0 else b""


def find_ending(source: Source, demuxer: str) -> Ending:
    """Return how a file of this format (FFmpeg's name) ends; formats without evidence never count as cut off."""
    check = _ENDINGS.get(demuxer)
    if check is None:
        return Ending(cut_off=False)
    with Path(source.path).open("rb") as file:
        return check(_Bytes(file, source))


def _mpegts(data: _Bytes) -> Ending:
    """Check whether the last packet of a row is complete; other bytes after it do not count as a cut."""
    tail = data.read(max(0, data.length - (TS_ROW + 1) * max(TS_PACKETS)), (TS_ROW + 1) * max(TS_PACKETS))
    for size in TS_PACKETS:
        marks = tail[-TS_ROW * size :]
        for first in range(min(size, len(marks))):
            if all(mark == 0x47 for mark in marks[first::size]):
                prefix = 4 if size == 192 else 0  # a Blu-ray packet begins with a time of 4 bytes
                return Ending((len(marks) - first + prefix) % size != 0)
    return Ending(cut_off=False)


def _flv(data: _Bytes) -> Ending:
    """Check the tags' lengths: each tag is followed by its own length, also at the end of the file."""
    length = int.from_bytes(data.read(data.length - 4, 4), "big")
    tag = data.read(data.length - 4 - length, 4)
    if len(tag) == 4 and _is_flv_tag(tag) and int.from_bytes(tag[1:4], "big") + 11 == length:
        return Ending(cut_off=False)
    position = int.from_bytes(data.read(5, 4), "big") + 4
    for _ in range(MAX_STEPS):
        tag = data.read(position, 4)
        if position >= data.length or not _is_flv_tag(tag):
            break  # other bytes after the end
        position += 11 + int.from_bytes(tag[1:4], "big") + 4
    return Ending(position > data.length)


def _is_flv_tag(tag: bytes) -> bool:
    return tag[0] & 0x1F in (8, 9, 18)


def _avi(data: _Bytes) -> Ending:
    """Check the length in the RIFF chunk."""
    return Ending(8 + int.from_bytes(data.read(4, 4), "little") > data.length)


def _ogg(data: _Bytes) -> Ending:
    """Check whether the last page is as long as its segment table says."""
    start = max(0, data.length - (1 << 17))  # a page has at most 64 KiB
    tail = data.read(start, data.length - start)
    page = tail.rfind(b"OggS")
    if page < 0:
        return Ending(cut_off=False)
    header = tail[page : page + 27]
    table = tail[page + 27 : page + 27 + (header[26] if len(header) == 27 else 0)]
    is_complete = len(header) == 27 and len(table) == header[26]
    return Ending(not is_complete or page + 27 + len(table) + sum(table) > len(tail))


def _mpeg(data: _Bytes) -> Ending:
    """Check whether the last packet of a program stream is as long as its header says."""
    start = max(0, data.length - (1 << 17))  # a packet has at most 64 KiB
    tail = data.read(start, data.length - start)
    position = len(tail)
    while (position := tail.rfind(b"\0\0\1", 0, position)) >= 0:
        if len(tail) > position + 3 and 0xBB <= tail[position + 3] <= 0xEF:  # system headers and packets
            length = tail[position + 4 : position + 6]
            return Ending(len(length) < 2 or position + 6 + int.from_bytes(length, "big") > len(tail))
    return Ending(cut_off=False)


def _asf(data: _Bytes) -> Ending:
    """Check the file length in the header, which live recordings lack."""
    head = data.read(0, HEAD_BYTES)
    position = head.find(_ASF_PROPERTIES)
    length, flags = head[position + 40 : position + 48], head[position + 88 : position + 92]
    if position < 0 or len(flags) < 4 or flags[0] & 1:
        return Ending(cut_off=False)
    return Ending(int.from_bytes(length, "little") > data.length)


def _gif(data: _Bytes) -> Ending:
    """Check that the last byte is a semicolon; some programs append zeros."""
    return Ending(not data.read(max(0, data.length - HEAD_BYTES), HEAD_BYTES).rstrip(b"\0\r\n").endswith(b";"))


def _mov(data: _Bytes) -> Ending:
    """Check the last fragment, a pair of moof and mdat boxes."""
    position, fragmented, index, last, length = 0, False, range(0), b"", 0
    for _ in range(MAX_STEPS):
        if position >= data.length:
            break
        name, length = _box(data, position)
        if fragmented and name not in _BOXES:
            return Ending(data.length - position < 8, fragmented, data.length - position if name == b"" else 0)
        fragmented = fragmented or name == b"moof"
        if length < 8:
            break  # a box up to the end of the file, or damage
        if name == b"moov":
            index = range(position, position + length)
        position, last = position + length, name
    if position > data.length and not fragmented:
        fragmented = b"mvex" in data.read(index.start, min(len(index), TAIL_BYTES))
    beyond = fragmented and position > data.length
    trailing_bytes = data.length - (position - length) if beyond and last != b"mdat" else 0
    return Ending(beyond or (fragmented and position == data.length and last == b"moof"), fragmented, trailing_bytes)


def _box(data: _Bytes, position: int) -> tuple[bytes, int]:
    """Return name and length of a box; the name is empty if there is no room for one."""
    header = data.read(position, 16)
    if len(header) < 8:
        return b"", 0
    length = int.from_bytes(header[:4], "big")
    return header[4:8], int.from_bytes(header[8:16], "big") if length == 1 else length


def _matroska(data: _Bytes) -> Ending:
    """Check whether the segment, or with unknown length the last element of the last cluster, is complete."""
    head = data.read(0, HEAD_BYTES)
    start, body = _ebml_size(head, 4)
    segment = start + (body or 0)
    if head[segment : segment + 4] == _SEGMENT:
        start, length = _ebml_size(head, segment + 4)
        if length is not None:
            return Ending(start + length > data.length)
    return Ending(_cluster_is_cut(data))


def _cluster_is_cut(data: _Bytes) -> bool:
    """Walk from the last cluster to the end of the file; return whether an element extends beyond it."""
    start = max(0, data.length - TAIL_BYTES)
    tail = data.read(start, TAIL_BYTES)
    position = tail.rfind(_CLUSTER)
    for _ in range(MAX_STEPS):
        if not 0 <= position < len(tail):
            break
        width = 9 - tail[position].bit_length()
        if width > 4:
            return False  # not an identifier
        name = int.from_bytes(tail[position : position + width], "big")
        if name not in _TOP_LEVEL and name not in _IN_CLUSTER:
            return position + width > len(tail)  # other bytes after the end are not an element
        body, length = _ebml_size(tail, position + width)
        if body == position + width:
            return True  # cut off in the middle of the length
        position = body if length is None else body + length
    return position > len(tail)


def _ebml_size(data: bytes, position: int) -> tuple[int, int | None]:
    """Return the start of an element's body and its length, None if unknown; `position` without a valid one.

    An EBML element is an identifier, a size of 1 to 8 bytes whose leading bits give its width, and a body.
    """
    width = 9 - data[position].bit_length() if position < len(data) else 9
    if width > 8 or position + width > len(data):
        return position, None
    value = int.from_bytes(data[position : position + width], "big") & ((1 << 7 * width) - 1)
    return position + width, None if value == (1 << 7 * width) - 1 else value


_ENDINGS: dict[str, Callable[[_Bytes], Ending]] = {
    "asf": _asf,
    "avi": _avi,
    "flv": _flv,
    "gif": _gif,
    "matroska": _matroska,
    "mov": _mov,
    "mpeg": _mpeg,
    "mpegts": _mpegts,
    "ogg": _ogg,
}
