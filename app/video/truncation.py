"""Detection of files that were cut off, from their structure and never from the duration in the header.

Only containers that stay readable without their end are examined; for MP4 that is the fragmented kind. A truncated
plain MP4 has lost its index, or frames that the index lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from app.media.formats import TS_PACKETS
from app.media.types import HEAD_BYTES, Source

TAIL_BYTES = 4 << 20  # searched at the end for a Matroska cluster: the largest common clusters are 5 s long
MOST_STEPS = 200_000  # limit of boxes, tags or elements visited; 4 hours of fragments have fewer
TS_ROW = 4  # packets in a row that confirm their alignment

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xEC, 0xBF, 0x5854, 0xAF}  # identifiers of a cluster's children
_AT_TOP = {0x1F43B675, 0x1C53BB6B, 0x1254C367, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1941A469, 0x1043A770}
_BOXES = {b"moof", b"mdat", b"styp", b"sidx", b"mfra", b"free", b"skip", b"emsg", b"prft", b"moov", b"ftyp", b"uuid"}


class Ending(NamedTuple):
    """End of a file.

    Attributes:
        cut_off: Whether the file ends before its structure does.
        fragmented: Whether it is an MP4 with an index for each fragment, which survives a cut.
        useless: Number of bytes at the end that are part of an index, which FFmpeg would reject.
    """

    cut_off: bool
    fragmented: bool = False
    useless: int = 0


class _Bytes:
    """Random access to a source's bytes."""

    def __init__(self, file: BinaryIO, source: Source) -> None:
        self._file, self._start, self.length = file, source.offset, source.length

    def at(self, place: int, count: int) -> bytes:
        """Return up to `count` bytes from `place`; fewer at the end."""
        count = min(count, self.length - place)
        return os.pread(self._file.fileno(), count, self._start + place) if place >= 0 and count > 0 else b""


def ending(source: Source, demuxer: str) -> Ending:
    """Return how a file of this format (FFmpeg's name) ends; formats without evidence never count as cut off."""
    check = _ENDINGS.get(demuxer)
    if check is None:
        return Ending(cut_off=False)
    with Path(source.path).open("rb") as file:
        return check(_Bytes(file, source))


def _mpegts(data: _Bytes) -> Ending:
    """Check whether the last packet of a row is complete; other bytes after it do not count as a cut."""
    tail = data.at(max(0, data.length - (TS_ROW + 1) * max(TS_PACKETS)), (TS_ROW + 1) * max(TS_PACKETS))
    for size in TS_PACKETS:
        marks = tail[-TS_ROW * size :]
        for first in range(min(size, len(marks))):
            if all(mark == 0x47 for mark in marks[first::size]):
                lead = 4 if size == 192 else 0  # a Blu-ray packet begins with a time of 4 bytes
                return Ending((len(marks) - first + lead) % size != 0)
    return Ending(cut_off=False)


def _flv(data: _Bytes) -> Ending:
    """Check the tags' lengths: each tag is followed by its own length, also at the end of the file."""
    length = int.from_bytes(data.at(data.length - 4, 4), "big")
    tag = data.at(data.length - 4 - length, 4)
    if len(tag) == 4 and _is_flv_tag(tag) and int.from_bytes(tag[1:4], "big") + 11 == length:
        return Ending(cut_off=False)
    place = int.from_bytes(data.at(5, 4), "big") + 4
    for _ in range(MOST_STEPS):
        tag = data.at(place, 4)
        if place >= data.length or not _is_flv_tag(tag):
            break  # other bytes after the end
        place += 11 + int.from_bytes(tag[1:4], "big") + 4
    return Ending(place > data.length)


def _is_flv_tag(tag: bytes) -> bool:
    return tag[0] & 0x1F in (8, 9, 18)


def _avi(data: _Bytes) -> Ending:
    """Check the length in the RIFF chunk."""
    return Ending(8 + int.from_bytes(data.at(4, 4), "little") > data.length)


def _ogg(data: _Bytes) -> Ending:
    """Check whether the last page is as long as its segment table says."""
    start = max(0, data.length - (1 << 17))  # a page has at most 64 KiB
    tail = data.at(start, data.length - start)
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
    tail = data.at(start, data.length - start)
    at = len(tail)
    while (at := tail.rfind(b"\0\0\1", 0, at)) >= 0:
        if len(tail) > at + 3 and 0xBB <= tail[at + 3] <= 0xEF:  # system headers and packets
            length = tail[at + 4 : at + 6]
            return Ending(len(length) < 2 or at + 6 + int.from_bytes(length, "big") > len(tail))
    return Ending(cut_off=False)


def _asf(data: _Bytes) -> Ending:
    """Check the file length in the header, which live recordings lack."""
    head = data.at(0, HEAD_BYTES)
    at = head.find(_ASF_PROPERTIES)
    length, flags = head[at + 40 : at + 48], head[at + 88 : at + 92]
    if at < 0 or len(flags) < 4 or flags[0] & 1:
        return Ending(cut_off=False)
    return Ending(int.from_bytes(length, "little") > data.length)


def _gif(data: _Bytes) -> Ending:
    """Check that the last byte is a semicolon; some programs append zeros."""
    return Ending(not data.at(max(0, data.length - HEAD_BYTES), HEAD_BYTES).rstrip(b"\0\r\n").endswith(b";"))


def _mov(data: _Bytes) -> Ending:
    """Check the last fragment, a pair of moof and mdat boxes."""
    place, fragmented, index, last, length = 0, False, range(0), b"", 0
    for _ in range(MOST_STEPS):
        if place >= data.length:
            break
        name, length = _box(data, place)
        if fragmented and name not in _BOXES:
            return Ending(data.length - place < 8, fragmented, data.length - place if name == b"" else 0)
        fragmented = fragmented or name == b"moof"
        if length < 8:
            break  # a box up to the end of the file, or damage
        if name == b"moov":
            index = range(place, place + length)
        place, last = place + length, name
    if place > data.length and not fragmented:
        fragmented = b"mvex" in data.at(index.start, min(len(index), TAIL_BYTES))
    beyond = fragmented and place > data.length
    useless = data.length - (place - length) if beyond and last != b"mdat" else 0
    return Ending(beyond or (fragmented and place == data.length and last == b"moof"), fragmented, useless)


def _box(data: _Bytes, place: int) -> tuple[bytes, int]:
    """Return name and length of a box; the name is empty if there is no room for one."""
    header = data.at(place, 16)
    if len(header) < 8:
        return b"", 0
    length = int.from_bytes(header[:4], "big")
    return header[4:8], int.from_bytes(header[8:16], "big") if length == 1 else length


def _matroska(data: _Bytes) -> Ending:
    """Check whether the segment, or with unknown length the last element of the last cluster, is complete."""
    head = data.at(0, HEAD_BYTES)
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
    tail = data.at(start, TAIL_BYTES)
    at = tail.rfind(_CLUSTER)
    for _ in range(MOST_STEPS):
        if not 0 <= at < len(tail):
            break
        width = 9 - tail[at].bit_length()
        if width > 4:
            return False  # not an identifier
        name = int.from_bytes(tail[at : at + width], "big")
        if name not in _AT_TOP and name not in _IN_CLUSTER:
            return at + width > len(tail)  # other bytes after the end are not an element
        body, length = _ebml_size(tail, at + width)
        if body == at + width:
            return True  # cut off in the middle of the length
        at = body if length is None else body + length
    return at > len(tail)


def _ebml_size(data: bytes, at: int) -> tuple[int, int | None]:
    """Return the start of an element's body and its length, None if unknown; return `at` if there is no valid length.

    An EBML element is an identifier, a size of 1 to 8 bytes whose leading bits give its width, and a body.
    """
    width = 9 - data[at].bit_length() if at < len(data) else 9
    if width > 8 or at + width > len(data):
        return at, None
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return at + width, None if value == (1 << 7 * width) - 1 else value


_ENDINGS: dict[str, Callable[[_Bytes], Ending]] = {
    "mpegts": _mpegts, "mpeg": _mpeg, "flv": _flv, "avi": _avi, "ogg": _ogg, "asf": _asf, "gif": _gif, "mov": _mov,
    "matroska": _matroska,
}  # fmt: skip
