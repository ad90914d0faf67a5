"""Edges that a container hides, read from its header: PixelCrop in Matroska, `clap` in MP4 and QuickTime.

FFmpeg has them as side data of a stream, which PyAV does not expose. Any of it may be damaged: unreadable data counts
as no crop.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from av.video.stream import VideoStream

from app.media.geometry import Crop
from app.media.types import Source

MAX_HEADER_BYTES = 16 << 20  # of the header part that describes the tracks
MAX_ELEMENTS = 1000  # on one level

_SEGMENT, _CLUSTER, _TRACKS, _TRACK = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\x16\x54\xae\x6b", b"\xae"
_VIDEO = b"\xe0"
_PIXEL_CROP = (b"\x54\xcc", b"\x54\xbb", b"\x54\xdd", b"\x54\xaa")  # left, top, right, bottom

Parse = Callable[[bytes, int], tuple[bytes, int, int]]

_SAMPLE_ENTRY_BYTES = 86  # of a VisualSampleEntry, box header included (ISO/IEC 14496-12)


def container_crop(source: Source, demuxer: str, stream: VideoStream, size: tuple[int, int]) -> Crop:
    """Return the crop of a stream's stored frames, whose `size` is (width, height)."""
    if demuxer not in ("matroska", "mov"):
        return Crop()
    rank = stream.container.streams.video.index(stream)
    with Path(source.path).open("rb") as file:
        try:
            header = _header(file, source, demuxer)
            crop = _pixel_crop(header, rank) if demuxer == "matroska" else _clean_aperture(header, stream.id, size)
        except (struct.error, IndexError, ValueError, ZeroDivisionError, OverflowError):
            return Crop()
    return crop if crop.fits(*size) else Crop()


def _header(file: BinaryIO, source: Source, demuxer: str) -> bytes:
    """Return the body of Matroska's Tracks or of MP4's `moov`; empty if there is none."""
    position, end = source.offset, source.offset + source.length
    for _ in range(MAX_ELEMENTS):
        if position >= end:  # a damaged length may point beyond any seekable offset
            break
        file.seek(position)
        head = file.read(min(16, max(0, end - position)))
        name, start, length = (_element if demuxer == "matroska" else _box)(head, 0)
        if not name or name == _CLUSTER:
            break
        if name in (_TRACKS, b"moov"):
            file.seek(position + start)
            return file.read(max(0, min(length, MAX_HEADER_BYTES, end - position - start)))
        position += start if name == _SEGMENT else start + length
    return b""


def _element(data: bytes, position: int) -> tuple[bytes, int, int]:
    """Return identifier, body start and body length of the EBML element at `position`; empty at the end."""
    if position >= len(data):
        return b"", position, 0
    start = position + 9 - data[position].bit_length()
    width = 9 - data[start].bit_length()
    if width > 8:
        raise ValueError("not an EBML size")
    length = int.from_bytes(data[start : start + width], "big") & ((1 << 7 * width) - 1)
    return data[position:start], start + width, length


def _box(data: bytes, position: int) -> tuple[bytes, int, int]:
    """Like `_element`, for a box of MP4; a box of length 0 extends to the end of the file."""
    if position + 8 > len(data):
        return b"", position, 0
    length, name = struct.unpack_from(">I4s", data, position)
    start = position + 8
    if length == 1:
        (length,) = struct.unpack_from(">Q", data, start)
        start += 8
    return name, start, (length or 1 << 62) - (start - position)


def _children(data: bytes, parse: Parse, position: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and body of each element or box of `data` from `position`."""
    for _ in range(MAX_ELEMENTS):
        name, start, length = parse(data, position)
        if not name or length < 0:
            return
        yield name, data[start : start + length]
        position = start + length


def _pixel_crop(tracks: bytes, rank: int) -> Crop:
    """Return the crop of the video track with this rank among all video tracks: FFmpeg hides track numbers."""
    fields = [dict(_children(track, _element)) for name, track in _children(tracks, _element) if name == _TRACK]
    videos = [track[_VIDEO] for track in fields if _VIDEO in track]
    video = dict(_children(videos[rank], _element))
    return Crop(*(int.from_bytes(video.get(side, b""), "big") for side in _PIXEL_CROP))


def _clean_aperture(moov: bytes, number: int, size: tuple[int, int]) -> Crop:
    for name, track in _children(moov, _box):
        fields = dict(_children(track, _box)) if name == b"trak" else {}
        header = fields.get(b"tkhd", b"")
        if not header or struct.unpack_from(">I", header, 20 if header[0] else 12)[0] != number:
            continue
        boxes = fields
        for step in (b"mdia", b"minf", b"stbl"):
            boxes = dict(_children(boxes.get(step, b""), _box))
        entry = boxes.get(b"stsd", b"")[8:]
        for name, values in _children(entry[: struct.unpack_from(">I", entry)[0]], _box, _SAMPLE_ENTRY_BYTES):
            if name == b"clap":
                return _aperture(struct.unpack_from(">8i", values), size)
    return Crop()


def _aperture(values: tuple[int, ...], size: tuple[int, int]) -> Crop:
    """Return the crop for a clean aperture: fractions of its width, its height and its centre's offsets."""
    edges = []
    for length, index in zip(size, (0, 2), strict=True):
        visible, shift = values[index] / values[index + 1], values[index + 4] / values[index + 5]
        before = round((length - visible) / 2 + shift)
        edges.append((before, length - before - round(visible)))
    (left, right), (top, bottom) = edges
    return Crop(left, top, right, bottom)
