"""Generated warm-up files, two videos and a picture, so that no upload is the first file of a decoder process.

The files are kept in memory and read like uploads. Decoding them loads and initialises everything that the first file
needs. The H.264 video exercises PyAV, the Motion JPEG video decord (app/video/readers.py).
"""

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

WIDTH, HEIGHT, FPS = 640, 360, 30  # a typical size, so that later uploads reuse the allocated memory
FRAMES = {"film.mp4": 8, "film.mov": 2, "picture.jpg": 1}
_CODECS: dict[str, tuple[Codec, str]] = {"film.mp4": ("libx264", "mp4"), "film.mov": ("mjpeg", "mov")}
_PIXELS: dict[str, str] = {"libx264": "yuv420p", "mjpeg": "yuvj420p"}
_STEP = 3  # movement per frame, pixels
SCRATCH, SIDE = "scratch", 64  # private region that receives the decoded warm-up clips; their side in pixels


@cache
def files() -> dict[str, bytes]:
    """Return the content of each file by name. Generated once, in less than 0.1 s and without extra threads."""
    grey = _landscape(WIDTH + _STEP * max(FRAMES.values()))
    videos = {}
    for name, how in _CODECS.items():
        with suppress(UnknownCodecError):  # a PyAV without x264 leaves the other video
            videos[name] = _film(grey, FRAMES[name], *how)
    picture = io.BytesIO()
    Image.fromarray(grey[:, :WIDTH]).convert("RGB").save(picture, "JPEG")
    return videos | {"picture.jpg": picture.getvalue()}


def source() -> Source:
    """Return the first file, as a source for a decoder process that holds the files."""
    name, content = next(iter(files().items()))
    return Source(name, 0, len(content))


def hold(held: dict[str, bytes]) -> None:
    """Register the files and a private region in this process. Call before it is sandboxed."""
    for name, content in held.items():
        handles.add_memory_file(name, content)
    handles.create_memory_region(SCRATCH, max(FRAMES.values()) * SIDE * SIDE * 3)


def requests(held: dict[str, bytes]) -> list[tuple[Source, ClipRequest]]:
    """Return each file with a request that decodes all its frames into the private region."""
    result = []
    for name, content in held.items():
        times = tuple(number / FPS for number in range(FRAMES[name]))
        result.append((Source(name, 0, len(content)), ClipRequest((times,), SIDE, SIDE, (0,), SCRATCH)))
    return result


def _landscape(width: int) -> Plane:
    """Return a grey picture of random patches, uint8 (HEIGHT, width); always the same one."""
    chance, picture = np.random.default_rng(20), np.zeros((HEIGHT, width))
    for size in (72, 24, 8):
        patches = chance.random((-(-HEIGHT // size), -(-width // size)))
        picture += np.kron(patches, np.ones((size, size)))[:HEIGHT, :width]
    return np.asarray(255 * picture / picture.max(), np.uint8)


def _film(grey: Plane, count: int, codec: Codec, container: str) -> bytes:
    """Return an encoded video of `count` frames in which the picture moves right."""
    buffer, colours = io.BytesIO(), np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    with av.open(buffer, "w", format=container) as output:
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
    return buffer.getvalue()
