"""Description of a video from its header, by the service's rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .appearance import check_container, check_frame, orientation, shown_size

# Containers in which frames are found by time; for other containers no single frames are sent.
SAMPLED = frozenset({"mp4", "mov", "matroska", "webm"})
HEAD_BYTES = 64
FIRST_FRAME_PACKETS = 300
# Metadata may be no valid UTF-8; PyAV 19 has no such option, and never fails on it
METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


@dataclass(frozen=True)
class Facts:
    """A video as its header describes it; `width` and `height` are in square pixels, upright.

    `rotation` is the clockwise turn that makes it upright; a `mirrored` video is then mirrored left to right.
    `duration_s` is None where the header does not say.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation: int
    mirrored: bool
    duration_s: float | None
    fps: float | None
    frames: int | None
    bytes: int

    @property
    def sampled(self) -> bool:
        """Return whether the client can find the frames that the service would sample."""
        return self.container in SAMPLED

    @property
    def pixels(self) -> float:
        """Return the number of pixels of all frames, as far as the header says."""
        return self.width * self.height * (self.frames or (self.duration_s or 0.0) * (self.fps or 0.0))


@contextmanager
def open_video(file: BinaryIO) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video from its start; raise ValueError if there is none.

    FFmpeg may read this file only, and no other that it names.
    """
    file.seek(0)
    with av.open(file, "r", options={"protocol_whitelist": ""}, **METADATA) as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise ValueError("no video")
        yield container, stream


def read_facts(file: BinaryIO, length: int) -> Facts:
    """Return the description of a video.

    Raise FFmpegError if FFmpeg cannot read it, ValueError if it is no video, or one that the client cannot reduce.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    with open_video(file) as (container, stream):
        if container.format.name.endswith(("_pipe", "image2")):
            raise ValueError("a picture")
        first = _first_frame(container, stream)
        check_frame(first)
        check_container(file, stream)
        rotation, mirrored = orientation(first)
        width, height = shown_size(first, stream)[:: -1 if rotation % 180 else 1]
        rate = stream.average_rate or stream.guessed_rate
        return Facts(
            container=_container_name(container.format.name, head),
            codec=stream.codec.canonical_name,
            width=width,
            height=height,
            rotation=rotation,
            mirrored=mirrored,
            duration_s=_duration_s(container, stream),
            fps=float(rate) if rate else None,
            frames=stream.frames or None,
            bytes=length,
        )


def _container_name(demuxer: str, head: bytes) -> str:
    """Return the container's name as the service gives it."""
    if demuxer.startswith("mov,"):
        return "mp4" if head[4:8] == b"ftyp" and head[8:12] != b"qt  " else "mov"
    if demuxer.startswith("matroska"):
        return "webm" if b"webm" in head else "matroska"
    return demuxer


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the seconds from the first frame to the end of the last, as the header says."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration:
        start_s = float((stream.start_time or 0) * (stream.time_base or 0))
        return max(0.0, container.duration / 1e6 - max(0.0, start_s)) or None
    return None


def demux(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of `stream`; PyAV's `demux` raises IndexError where another stream begins later in the file."""
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:
            continue


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    for number, packet in enumerate(demux(container, stream)):
        if number >= FIRST_FRAME_PACKETS:
            break
        try:
            for frame in packet.decode():
                return frame
        except InvalidDataError:
            continue
    raise ValueError("no frame of this video can be decoded")
