"""Animated WebP, PNG and AVIF, read as videos with Pillow, because FFmpeg cannot read animated WebP.

Each frame depends on all earlier ones, so decoding starts at the first.
"""

import io
from collections.abc import Iterator, Sequence

import av
import numpy as np

from app.errors import LimitExceeded, Undecodable
from app.images.decode import open_pixels, read_orientation, render, rotation_of
from app.images.picture_file import PictureFile
from app.images.png import png_chunks
from app.images.source import ReadPicture, split_source
from app.images.webp import webp_chunks
from app.media.frames import Frame
from app.media.sampling import Timing
from app.media.types import Limits, Media, Source

ANIMATED = frozenset(("WEBP", "PNG", "AVIF"))  # names of formats.Format of kind "video" that this module reads
MAX_FRAMES = 5000  # the last frame requires decoding all
SHORTEST_MS, USUAL_MS = 10.0, 100.0  # browsers show a frame of at most 10 ms for 100 ms
_CONTAINERS = {"WEBP": ("webp", "webp"), "PNG": ("png", "png"), "AVIF": ("avif", "av1")}  # container and codec


def read(source: Source, limits: Limits) -> ReadPicture:
    """Read an animation and the properties in its structure, without decoding a frame.

    Raises:
        UnsupportedMedia: The format or codec is not supported.
        LimitExceeded: The animation is too large or has too many frames.
        Undecodable: The file is damaged.
    """
    format_name, file = split_source(source)
    with open_pixels(format_name, file, limits.max_pixels) as picture:
        timing = _timing(format_name, file)
        frames = len(timing.times_s)
        if frames > MAX_FRAMES:
            raise LimitExceeded(
                f"the animation has {frames} frames, more than the {MAX_FRAMES} allowed: send it as a video"
            )
        limits.check_size(picture.width, picture.height)
        rotation, mirrored = rotation_of(read_orientation(picture, file))
        width, height = (picture.width, picture.height)[:: -1 if rotation % 180 else 1]
        notes = tuple(file.notes)
    container, codec = _CONTAINERS[format_name]
    media = Media(
        "video", container, codec, width, height, rotation, timing.end_s, timing.fps, frames, mirrored, notes=notes
    )
    return ReadPicture(media, format_name, file)


class AnimationReader:
    """Reader of an animation's frames; implements readers.Reader. `animation` is the source if it was read already."""

    missing = 0

    def __init__(
        self, source: Source, media: Media, size: tuple[int, int], animation: ReadPicture | None = None
    ) -> None:
        self._size, self._max_pixels = size, media.width * media.height
        self._format_name, self._file = (animation.format_name, animation.file) if animation else split_source(source)
        self.timing, self.cut_off = _timing(self._format_name, self._file), self._file.cut_off

    def read(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Yield upright frames of the reader's size, one for each of `numbers`, which must rise."""
        with open_pixels(self._format_name, self._file, self._max_pixels) as picture:
            orientation = read_orientation(picture, self._file)
            first = int(getattr(picture, "default_image", False))  # a PNG may start with a picture that is not a frame
            for number in numbers:
                picture.seek(first + number)
                picture.load()
                yield render(picture, orientation, self._size)


def _timing(format_name: str, file: PictureFile) -> Timing:
    """Return the display times of the frames; raise Undecodable for an animation without frames."""
    durations = {"WEBP": _webp_durations, "PNG": _png_durations, "AVIF": _avif_durations}[format_name](file.pixels)
    if not durations:
        raise Undecodable("there is no frame in this animation")
    shown_ms = [duration if duration > SHORTEST_MS else USUAL_MS for duration in durations]
    ends_s = np.cumsum(shown_ms) / 1000
    times_s = np.concatenate([[0.0], ends_s[:-1]])
    return Timing.of(times_s, times_s[:1], float(ends_s[-1]))


def _webp_durations(data: bytes) -> list[float]:
    """Return the duration of each frame (ANMF) in milliseconds."""
    frames = [start for name, start, _ in webp_chunks(data) if name == b"ANMF"]
    return [float(int.from_bytes(data[start + 20 : start + 23], "little")) for start in frames]


def _png_durations(data: bytes) -> list[float]:
    """Return the duration of each frame (fcTL) in milliseconds; a denominator of 0 counts as 100."""
    durations = []
    for name, start, _ in png_chunks(data):
        if name == b"fcTL":
            numerator = int.from_bytes(data[start + 28 : start + 30], "big")
            denominator = int.from_bytes(data[start + 30 : start + 32], "big")
            durations.append(1000.0 * numerator / (denominator or 100))
    return durations


def _avif_durations(data: bytes) -> list[float]:
    """Return the frame durations, ms, of the track with the most frames: not of the still picture or the alpha."""
    try:
        with av.open(io.BytesIO(data), "r", format="mov", options={"protocol_whitelist": ""}) as container:
            if not container.streams.video:
                return []
            stream = max(container.streams.video, key=lambda stream: stream.frames)
            base = 1000.0 * float(stream.time_base or 0)
            return [base * (packet.duration or 0) for packet in container.demux(stream) if packet.size]
    except av.error.FFmpegError as error:
        raise Undecodable("the AVIF animation is damaged and cannot be decoded") from error
