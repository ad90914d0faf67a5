"""Two films and a picture of our own, by which decoders get warm: the first upload is not the first file of a process.

They are made by code, kept in memory, and read as uploads are: what is loaded, set up and mapped with a first file is
then there. H.264 is PyAV's, Motion JPEG decord's (app/video/readers.py).
"""

from __future__ import annotations

import io
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import Literal

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from numpy.typing import NDArray
from PIL import Image

from app.media import handles
from app.media.types import ClipRequest, Source

Plane = NDArray[np.uint8]
Codec = Literal["libx264", "mjpeg"]

WIDTH, HEIGHT, FPS = 640, 360, 30  # about what is sent: memory of other sizes would be asked for anew
FRAMES = {"film.mp4": 8, "film.mov": 2, "picture.jpg": 1}
_CODECS: dict[str, tuple[Codec, str]] = {"film.mp4": ("libx264", "mp4"), "film.mov": ("mjpeg", "mov")}
_PIXELS: dict[str, str] = {"libx264": "yuv420p", "mjpeg": "yuvj420p"}
_STEP = 3  # pixels that the picture moves from frame to frame
SCRATCH, SIDE = "scratch", 64  # where a process writes what it decodes for nobody; pixels


@cache
def files() -> dict[str, bytes]:
    """What each file holds, by its name; made once, in less than 0.1 s, by no thread of its own."""
    grey = _landscape(WIDTH + _STEP * max(FRAMES.values()))
    made = {}
    for name, how in _CODECS.items():
        with suppress(UnknownCodecError):  # a PyAV without x264: then the other film has to do
            made[name] = _film(grey, FRAMES[name], *how)
    picture = io.BytesIO()
    Image.fromarray(grey[:, :WIDTH]).convert("RGB").save(picture, "JPEG")
    return made | {"picture.jpg": picture.getvalue()}


def source() -> Source:
    """The first of the files, as a decoder process that holds them reads it."""
    name, content = next(iter(files().items()))
    return Source(name, 0, len(content))


def hold(held: dict[str, bytes]) -> None:
    """Let this process read the files, and write into a region of its own; before it is confined."""
    for name, content in held.items():
        handles.hold_file(name, content)
    handles.hold_region(SCRATCH, max(FRAMES.values()) * SIDE * SIDE * 3)


def requests(held: dict[str, bytes]) -> list[tuple[Source, ClipRequest]]:
    """Each file, and all its frames into the region that is nobody's."""
    told = []
    for name, content in held.items():
        times = tuple(number / FPS for number in range(FRAMES[name]))
        told.append((Source(name, 0, len(content)), ClipRequest((times,), SIDE, SIDE, (0,), SCRATCH)))
    return told


def _landscape(width: int) -> Plane:
    """A grey picture of patches of several sizes, HEIGHT x width, the same one each time."""
    chance, picture = np.random.default_rng(20), np.zeros((HEIGHT, width))
    for size in (72, 24, 8):
        patches = chance.random((-(-HEIGHT // size), -(-width // size)))
        picture += np.kron(patches, np.ones((size, size)))[:HEIGHT, :width]
    return np.asarray(255 * picture / picture.max(), np.uint8)


def _film(grey: Plane, count: int, codec: Codec, container: str) -> bytes:
    """`count` frames in which the picture moves right."""
    made, colours = io.BytesIO(), np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    with av.open(made, "w", format=container) as output:
        stream = output.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, _PIXELS[codec]
        stream.thread_count = 1
        for number in range(count):
            left = _STEP * (count - number)
            planes = np.concatenate([grey[:, left : left + WIDTH], colours])
            frame = av.VideoFrame.from_ndarray(planes, format=_PIXELS[codec])
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return made.getvalue()
