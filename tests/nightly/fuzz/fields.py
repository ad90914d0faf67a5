"""Structure of files: sizes, counts, times and dimensions that a demuxer reads, and whole parts.

Readers stop quietly at what they do not understand: they also get files that were damaged before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

WORDS = 48  # of a table's first numbers, this many are fields
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Field:
    """A number of `width` bytes at byte `at`; `vint` is EBML's: its first bits tell its width."""

    at: int
    width: int
    big: bool = True
    vint: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A box, element, chunk or packet, from byte `start` to before `end`."""

    start: int
    end: int


Structure = tuple[list[Field], list[Part]]

_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"dinf")
_TABLES = (
    b"stts", b"ctts", b"stsz", b"stsc", b"stco", b"co64", b"stss", b"elst", b"mvhd", b"tkhd", b"mdhd", b"trun",
    b"tfhd", b"tfdt", b"trex", b"stsd", b"hdlr", b"ftyp", b"sidx", b"mfhd", b"tfra", b"mfro", b"dref", b"sdtp",
)  # fmt: skip


def boxes(data: bytes) -> Structure:
    """MP4 and QuickTime."""
    fields: list[Field] = []
    parts: list[Part] = []

    def walk(at: int, end: int, depth: int) -> None:
        while at + 8 <= end and depth < DEEPEST:
            size, kind = struct.unpack_from(">I4s", data, at)
            stop = min(end, at + size) if size >= 8 else end
            fields.extend((Field(at, 4), Field(at + 4, 4)))
            parts.append(Part(at, stop))
            if kind in _BOXES:
                walk(at + 8, stop, depth + 1)
            elif kind in _TABLES:
                fields.extend(Field(word, 4) for word in range(at + 8, min(stop, at + 8 + 4 * WORDS) - 3, 4))
            if kind == b"stsd" and stop - at > 52:
                fields.extend(Field(word, 2) for word in range(at + 40, min(stop, at + 110) - 1, 2))
                walk(at + 102, stop, depth + 1)
            at = stop

    walk(0, len(data), 0)
    return fields, parts


_ELEMENTS = {
    0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675, 0xA0, 0x1C53BB6B, 0xBB, 0xB7,
    0x1A45DFA3, 0x4DBB, 0x55B0, 0x1254C367, 0x7373, 0x6D80, 0x6240, 0x5034,
}  # fmt: skip
_BLOCKS = (0xA3, 0xA1)


def _width(first: int) -> int:
    return 9 - first.bit_length()


def ebml(data: bytes) -> Structure:
    """Matroska and WebM."""
    fields: list[Field] = []
    parts: list[Part] = []

    def walk(at: int, end: int, depth: int) -> None:
        while at + 2 <= end and depth < DEEPEST:
            named = _width(data[at])
            if named > 4 or at + named >= end:
                return
            identity = int.from_bytes(data[at : at + named], "big")
            sized = _width(data[at + named])
            body = at + named + sized
            if sized > 8 or body > end:
                return
            size = int.from_bytes(data[at + named : body], "big") & ((1 << 7 * sized) - 1)
            stop = end if size == (1 << 7 * sized) - 1 else min(end, body + size)
            fields.extend((Field(at, named), Field(at + named, sized, vint=True)))
            parts.append(Part(at, stop))
            if identity in _ELEMENTS:
                walk(body, stop, depth + 1)
            elif identity in _BLOCKS and stop - body > 4:
                fields.extend((Field(body, 1, vint=True), Field(body + 1, 2), Field(body + 3, 1)))
            elif 0 < stop - body <= 8:
                fields.append(Field(body, stop - body))
            at = stop

    walk(0, len(data), 0)
    return fields, parts


def riff(data: bytes) -> Structure:
    """AVI and WebP."""
    fields: list[Field] = []
    parts: list[Part] = []

    def walk(at: int, end: int, depth: int) -> None:
        while at + 8 <= end and depth < DEEPEST:
            kind, size = struct.unpack_from("<4sI", data, at)
            stop = min(end, at + 8 + size + size % 2)
            fields.extend((Field(at, 4), Field(at + 4, 4, big=False)))
            parts.append(Part(at, stop))
            if kind in (b"RIFF", b"LIST"):
                walk(at + 12, stop, depth + 1)
            elif kind in (b"ANMF",):
                fields.extend(Field(at + 8 + 3 * word, 3, big=False) for word in range(5))
                walk(at + 24, stop, depth + 1)
            else:
                width = 2 if kind in (b"strf", b"VP8 ", b"VP8L") else 4
                reach = min(stop, at + 8 + width * WORDS)
                fields.extend(Field(word, width, big=False) for word in range(at + 8, reach - width + 1, width))
            at = max(stop, at + 8)

    walk(0, len(data), 0)
    return fields, parts


def packets(data: bytes) -> Structure:
    """MPEG-TS: every packet's head, and the first bytes of what it carries: tables, or a PES head with its times."""
    fields: list[Field] = []
    parts: list[Part] = []
    for at in range(0, len(data) - 187, 188):
        parts.append(Part(at, at + 188))
        fields.extend((Field(at, 1), Field(at + 1, 2), Field(at + 3, 1), Field(at + 4, 1)))
        if data[at + 1] & 0x40:
            load = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            fields.extend(Field(word, 1) for word in range(load, min(load + 24, at + 188)))
    return fields, parts


def gif(data: bytes) -> Structure:
    """Size of the screen, of every frame, times, and the lengths of blocks."""
    fields = [Field(6, 2, big=False), Field(8, 2, big=False), Field(10, 1), Field(11, 1), Field(12, 1)]
    parts: list[Part] = []
    if len(data) < 13:
        return [], []
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at < len(data) and data[at] in (0x21, 0x2C):
        start = at
        if data[at] == 0x21:
            at += 2
            fields.extend(Field(start + 2 + byte, 1) for byte in range(6))
        else:
            fields.extend(Field(start + word, 2, big=False) for word in (1, 3, 5, 7))
            fields.append(Field(start + 9, 1))
            table = 3 << (data[at + 9] & 7) + 1 if at + 9 < len(data) and data[at + 9] & 0x80 else 0
            at += 10 + table
            fields.append(Field(at, 1))
            at += 1
        while at < len(data) and data[at]:
            fields.append(Field(at, 1))
            at += data[at] + 1
        at += 1
        parts.append(Part(start, min(at, len(data))))
    return [field for field in fields if field.at + field.width <= len(data)], parts


def png(data: bytes) -> Structure:
    """Lengths, names and sums of chunks, and the numbers in those that tell sizes and times."""
    fields: list[Field] = []
    parts: list[Part] = []
    for start, kind, stop in chunks_of_png(data):
        parts.append(Part(start, stop))
        fields.extend((Field(start, 4), Field(start + 4, 4), Field(stop - 4, 4)))
        if kind in (b"IHDR", b"acTL", b"fcTL", b"pHYs", b"gAMA", b"cHRM"):
            fields.extend(Field(word, 4) for word in range(start + 8, stop - 7, 4))
        if kind == b"IHDR":
            fields.extend(Field(byte, 1) for byte in range(start + 16, stop - 4))
    return fields, parts


def chunks_of_png(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Start, name and end of every chunk."""
    at = 8
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        stop = at + 12 + size
        if stop > len(data):
            return
        yield at, kind, stop
        at = stop


def jpeg(data: bytes) -> Structure:
    """Lengths of segments, the numbers in their heads; entropy-coded data is left to blind mutations."""
    fields: list[Field] = []
    parts: list[Part] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        size = struct.unpack_from(">H", data, at + 2)[0]
        stop = min(len(data), at + 2 + size)
        parts.append(Part(at, stop))
        fields.extend((Field(at + 1, 1), Field(at + 2, 2)))
        fields.extend(Field(byte, 1) for byte in range(at + 4, min(stop, at + 40)))
        if 0xC0 <= data[at + 1] <= 0xC2:
            fields.extend((Field(at + 5, 2), Field(at + 7, 2)))
        if data[at + 1] == 0xDA:
            break
        at = max(stop, at + 4)
    return [field for field in fields if field.at + field.width <= len(data)], parts


READERS: dict[str, Callable[[bytes], Structure]] = {
    "boxes": boxes,
    "ebml": ebml,
    "riff": riff,
    "packets": packets,
    "gif": gif,
    "png": png,
    "jpeg": jpeg,
    "blind": lambda data: ([], []),
}


def structure(form: str, data: bytes) -> Structure:
    """Fields and parts of a file of the form; both may be empty."""
    return READERS[form](data)
