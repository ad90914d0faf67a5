"""Animated WebP, PNG and AVIF: read as videos, by Pillow, because FFmpeg reads no animated WebP.

Frames depend on all earlier ones, so they are decoded from the first one on.
"""

import io
from collections.abc import Iterator, Sequence

import av
import numpy as np

from app.errors import LimitExceeded, Undecodable
from app.images.decode import open_parts, opened, orientation_in, seen, turn_of
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import Frame
from app.media.sampling import Timing
from app.media.types import Limits, Media, Source
from app.picture_files.parts import PictureFile
from app.picture_files.png import png_chunks
from app.picture_files.webp import webp_chunks

ANIMATED = frozenset(("WEBP", "PNG", "AVIF"))  # names of formats.Format of kind "video" that are read here
MAX_FRAMES = 5000  # the last one costs the decoding of all
SHORTEST_MS, USUAL_MS = 10.0, 100.0  # browsers show a frame of at most 10 ms for 100 ms
_CONTAINERS = {"WEBP": ("webp", "webp"), "PNG": ("png", "png"), "AVIF": ("avif", "av1")}  # and their codecs


def probe(source: Source, limits: Limits) -> Media:
    """Read the facts of an animation from its structure; no frame is decoded.

    Raises UnsupportedMedia, LimitExceeded, Undecodable.
    """
    with opened(source, limits.max_pixels) as (picture, file):
        name = recognise(source.read(HEAD_BYTES)).name
        timing = _timing(name, file)
        frames = len(timing.times_s)
        if frames > MAX_FRAMES:
            raise LimitExceeded(f"the animation has more than the {MAX_FRAMES} frames allowed")
        limits.check_size(picture.width, picture.height)
        rotation, mirrored = turn_of(orientation_in(picture, file))
        width, height = (picture.width, picture.height)[:: -1 if rotation % 180 else 1]
        notes = tuple(file.notes)
    container, codec = _CONTAINERS[name]
    return Media(
        "video", container, codec, width, height, rotation, timing.end_s, timing.fps, frames, mirrored, notes=notes
    )


class AnimationReader:
    """Reads the frames of an animation; see readers.Reader."""

    missing = 0

    def __init__(self, source: Source, media: Media, size: tuple[int, int]) -> None:
        self._size, self._max_pixels = size, media.width * media.height
        with opened(source, self._max_pixels) as (_, self._file):
            self._name = recognise(source.read(HEAD_BYTES)).name
        self.timing, self.cut_off = _timing(self._name, self._file), self._file.cut_off

    def read(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Yield upright frames of the reader's size, one for each of `numbers`, which must rise."""
        with open_parts(self._name, self._file, self._max_pixels) as picture:
            orientation = orientation_in(picture, self._file)
            first = int(getattr(picture, "default_image", False))  # of a PNG: a picture that is no frame
            for number in numbers:
                picture.seek(first + number)
                picture.load()
                yield seen(picture, orientation, self._size)


def _timing(name: str, file: PictureFile) -> Timing:
    """Return when the frames are shown; raises Undecodable for an animation without frames."""
    durations = {"WEBP": _webp_durations, "PNG": _png_durations, "AVIF": _avif_durations}[name](file.pixels)
    if not durations:
        raise Undecodable("there is no frame in this animation")
    shown_ms = [duration if duration > SHORTEST_MS else USUAL_MS for duration in durations]
    ends_s = np.cumsum(shown_ms) / 1000
    times_s = np.concatenate([[0.0], ends_s[:-1]])
    return Timing.of(times_s, times_s[:1], float(ends_s[-1]))


def _webp_durations(data: bytes) -> list[float]:
    """Milliseconds of each frame (ANMF)."""
    frames = [start for name, start, _ in webp_chunks(data) if name == b"ANMF"]
    return [float(int.from_bytes(data[start + 20 : start + 23], "little")) for start in frames]


def _png_durations(data: bytes) -> list[float]:
    """Milliseconds of each frame (fcTL); a denominator of 0 counts as 100."""
    durations = []
    for name, start, _ in png_chunks(data):
        if name == b"fcTL":
            over, under = (int.from_bytes(data[at : at + 2], "big") for at in (start + 28, start + 30))
            durations.append(1000.0 * over / (under or 100))
    return durations


def _avif_durations(data: bytes) -> list[float]:
    """Milliseconds of each frame of the track with the most frames: the others are the still and the alpha."""
    try:
        with av.open(io.BytesIO(data), "r", format="mov", options={"protocol_whitelist": ""}) as container:
            if not container.streams.video:
                return []
            stream = max(container.streams.video, key=lambda stream: stream.frames)
            base = 1000.0 * float(stream.time_base or 0)
            return [base * (packet.duration or 0) for packet in container.demux(stream) if packet.size]
    except av.error.FFmpegError as error:
        raise Undecodable("the AVIF animation is damaged and cannot be decoded") from error
