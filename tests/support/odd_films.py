"""Films whose stored frames differ from the shown ones: interlaced fields, and edges that the container hides."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.filter import Graph

from app.media.geometry import Crop
from tests.support.films import Frame, texture

FIELDS_S = 50
FRAMES = 12
STEP = 6  # pixels from field to field

_INTERLACED: dict[str, tuple[str, str, dict[str, str], bool]] = {  # encoder, pixels, options, top field first
    "h264 mov": ("libx264", "yuv420p", {"x264-params": "tff=1", "crf": "8"}, True),
    "h264 ts": ("libx264", "yuv420p", {"x264-params": "bff=1", "crf": "8"}, False),
    "mpeg2 mpg": ("mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "b": "8000000"}, True),
    "ffv1 mkv": ("ffv1", "yuv420p", {}, True),
    "mpeg2 mkv": ("mpeg2video", "yuv422p", {"flags": "+ildct+ilme", "b": "8000000"}, True),
    "prores mov": ("prores_ks", "yuv422p10le", {"flags": "+ildct"}, True),
    "bottom mkv": ("mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "b": "8000000"}, False),
}


def moments(count: int, width: int = 192, height: int = 128) -> list[Frame]:
    """Return `count` pictures of a camera that pans, one per field."""
    wide = texture(width + STEP * count, height, seed=5)
    return [np.ascontiguousarray(wide[:, STEP * number :][:, :width]) for number in range(count)]


def interlaced(folder: Path, name: str, progressive: int = 0, scale: int = 1) -> tuple[Path, list[Frame]]:
    """Write a film whose fields are of two moments, all but its first `progressive` frames; larger with `scale`.

    Return its path and for each frame the picture at the moment of its first field.
    """
    encoder, pixels, options, top_first = _INTERLACED[name]
    fields = moments(2 * FRAMES * scale, 192 * scale, 128 * scale)
    path = folder / f"{name.replace(' ', '.')}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=Fraction(FIELDS_S, 2), options=options)
        stream.height, stream.width = fields[0].shape[:2]
        stream.pix_fmt = pixels
        for number in range(len(fields) // 2):
            first, second = fields[2 * number], fields[2 * number + 1]
            whole = number < progressive
            woven = first.copy()
            if not whole:
                woven[int(top_first) :: 2] = second[int(top_first) :: 2]
            frame = _marked(woven, pixels, "prog" if whole else "tff" if top_first else "bff")
            frame.pts, frame.time_base = number, Fraction(2, FIELDS_S)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path, fields[::2]


def _marked(woven: Frame, pixels: str, order: str) -> av.VideoFrame:
    """Return a YUV frame with its own colours in each field, marked as `order`."""
    picture = av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format="yuv444p")
    graph = Graph()
    height, width = woven.shape[:2]
    nodes = [
        graph.add_buffer(width=width, height=height, format=picture.format, time_base=Fraction(1, 1000)),
        graph.add("setfield", order),
        graph.add("scale", f"interl={int(order != 'prog')}"),
        graph.add("format", pixels),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    picture.pts = 0
    graph.push(picture)
    graph.push(None)
    return graph.vpull()


def with_pixel_crop(source: Path, target: Path, crop: Crop) -> Path:
    """Copy a Matroska file written with `with_pixel_crop.muxer`, with PixelCrop elements in its first video track."""
    data = bytearray(source.read_bytes())
    sides = zip((b"\x54\xcc", b"\x54\xbb", b"\x54\xdd", b"\x54\xaa"), crop, strict=True)
    elements = b"".join(name + b"\x82" + struct.pack(">H", side) for name, side in sides)
    at, parents = 0, []
    for name in (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0"):
        at = _find(data, at, name)
        parents.append(at + len(name))
        at += len(name) + 9 - data[at + len(name)].bit_length()
    data[at:at] = elements
    for size_at in reversed(parents):
        _lengthen(data, size_at, len(elements))
    target.write_bytes(data)
    return target


def _find(data: bytearray, at: int, name: bytes) -> int:
    """Return the offset of the element with this name, from `at` on."""
    while data[at : at + len(name)] != name:
        at += 9 - data[at].bit_length()
        width = 9 - data[at].bit_length()
        length = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
        at += width + length
    return at


def _lengthen(data: bytearray, at: int, more: int) -> None:
    """Add `more` to the size of an element; an unknown size stays unknown."""
    width = 9 - data[at].bit_length()
    ones = (1 << 7 * width) - 1
    value = int.from_bytes(data[at : at + width], "big") & ones
    if value != ones:
        data[at : at + width] = (value + more | 1 << 7 * width).to_bytes(width, "big")


def with_clean_aperture(source: Path, target: Path, crop: Crop) -> Path:
    """Copy an MP4 whose index lies at its end, with a `clap` box that shows what `crop` leaves of its first track."""
    data = bytearray(source.read_bytes())
    at, ends = 0, []
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        while data[at + 4 : at + 8] != name:
            at += struct.unpack_from(">I", data, at)[0]
        ends.append(at)
        at += 8 + 8 * (name == b"stsd")
    ends.append(at)
    width, height = struct.unpack_from(">HH", data, at + 32)
    values = []
    for length, before, after in ((width, crop.left, crop.right), (height, crop.top, crop.bottom)):
        values.append((length - before - after, 1, before - after, 2))
    clap = struct.pack(">I4s8i", 40, b"clap", *values[0][:2], *values[1][:2], *values[0][2:], *values[1][2:])
    end = at + struct.unpack_from(">I", data, at)[0]
    data[end:end] = clap
    for box in ends:
        struct.pack_into(">I", data, box, struct.unpack_from(">I", data, box)[0] + len(clap))
    target.write_bytes(data)
    return target


with_pixel_crop.muxer = {"live": "1"}  # type: ignore[attr-defined]
with_clean_aperture.muxer = {}  # type: ignore[attr-defined]
