"""Properties of a video, read from its header and first frame; the video stays open for readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from av.container import InputContainer
from av.error import InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from app.errors import LimitExceeded, Undecodable
from app.images.source import ReadPicture
from app.media.colour import conversion
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import GpuDecoder
from app.media.geometry import display_size, orientation
from app.media.transparency import has_second_picture
from app.media.types import Limits, Media, Source
from app.video.container import convert_errors, open_container
from app.video.container_crop import container_crop
from app.video.packets import VideoPacket, demux
from app.video.truncation import Ending, find_ending

MAX_GIF_FRAMES = 5000  # a GIF has no key frames, so the last frame requires decoding all
FIRST_FRAME_PACKETS = 300  # a broadcast may start inside a group of pictures, which lasts at most 10 s
MOST_KEPT_PACKETS = 32  # packets before the first frame that are kept for the list of all
SEEKABLE = ("mov", "matroska")  # containers whose display times allow seeking back to the first frame
REORDERED_CODECS = ("h264", "hevc")
NAME_BYTES = 64  # head of a file that tells the containers of one demuxer apart
THREADED_PIXELS = 1280 * 720  # of a frame from which more than one thread pays: a third less time for 10 % more CPU


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """A video that was opened to read its properties, and the `packets` up to its first frame; readers go on there."""

    demuxer: str
    container: InputContainer
    stream: VideoStream
    end: Ending
    media: Media
    packets: list[VideoPacket]

    @property
    def is_listable(self) -> bool:
        """Whether a list of all packets can continue with this container."""
        return len(self.packets) <= MOST_KEPT_PACKETS


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one decoding."""

    threads: int = 1  # decoding threads of PyAV, for large frames; if over 1, another thread scales frames
    gpu: GpuDecoder | None = None  # tried first; its frames stay on a GPU
    video: OpenVideo | None = None  # the source, if it is open already
    animation: ReadPicture | None = None  # the source, if it is an animation that was read already


DEFAULTS = Resources()


def probe(source: Source, limits: Limits) -> Media:
    """Return the properties of a video; raise as `open_video`."""
    with convert_errors():
        demuxer = recognise(source.read(HEAD_BYTES)).name
    with open_video(source, demuxer, limits) as video:
        return video.media


@contextmanager
def open_video(source: Source, demuxer: str, limits: Limits, threads: int = 1) -> Iterator[OpenVideo]:
    """Open a video and read its properties from its header and first frame.

    A frame size beyond the limits is refused before decoding, a duration only if an index lists all frames. Large
    frames are decoded with `threads` threads.

    Raises:
        UnsupportedMedia: The format or codec is not supported.
        NoVideoStream: The file has no video.
        LimitExceeded: The video is too large or too long.
        Undecodable: The file is damaged.
    """
    with convert_errors():
        end = find_ending(source, demuxer)
        with open_container(source, demuxer, end=end) as (container, stream):
            limits.check_size(stream.width, stream.height)
            _check_frames(source, demuxer, stream, limits)
            stream.thread_count = threads_for(stream.width, stream.height, threads)
            duration_s, packets = _duration_s(container, stream), list[VideoPacket]()
            first = _first_frame(container, stream, packets)
            limits.check_size(first.width, first.height)
            crop = container_crop(source, demuxer, stream, (first.width, first.height))
            aspect = None if demuxer == "gif" else stream.sample_aspect_ratio
            width, height = display_size(first.width, first.height, crop, aspect)
            limits.check_size(width, height)
            rotation, mirrored = orientation(first)
            rate = stream.average_rate or stream.guessed_rate
            media = Media(
                kind="video",
                container=_container_name(demuxer, source.read(NAME_BYTES)),
                codec=stream.codec.canonical_name,
                width=height if rotation % 180 else width,
                height=width if rotation % 180 else height,
                rotation=rotation,
                duration_s=duration_s,
                fps=float(rate) if rate else None,
                frames=stream.frames or None,
                mirrored=mirrored,
                crop=(*crop,),
                interlaced=first.interlaced_frame,
                conversion="full" if has_second_picture(stream) else conversion(first),
            )
            del first
            yield OpenVideo(demuxer, container, stream, end, media, packets)


def threads_for(width: int, height: int, threads: int) -> int:
    """Return the number of decoding threads for frames of this size, at most `threads`."""
    return threads if width * height >= THREADED_PIXELS else 1


def _container_name(demuxer: str, head: bytes) -> str:
    """Return the common name of the container: one demuxer reads MP4 and QuickTime, one Matroska and WebM."""
    if demuxer == "mov":
        return "mp4" if head[4:8] == b"ftyp" and head[8:12] != b"qt  " else "mov"
    return "webm" if demuxer == "matroska" and b"webm" in head[:64] else demuxer


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the header's duration in seconds, from the first frame to the end of the last."""
    if stream.duration and stream.time_base and stream.duration > 0:  # a damaged one may be negative
        return float(stream.duration * stream.time_base)
    if container.duration:
        # Matroska and FLV count from 0, wherever the video starts
        start_s = float((stream.start_time or 0) * (stream.time_base or 0))
        return max(0.0, container.duration / 1e6 - max(0.0, start_s)) or None
    return None


def _check_frames(source: Source, demuxer: str, stream: VideoStream, limits: Limits) -> None:
    """Refuse a video with too many frames: an MP4 by its index, because a header only makes a claim."""
    if demuxer == "gif" and stream.frames > MAX_GIF_FRAMES:
        raise LimitExceeded(f"the GIF has more than the {MAX_GIF_FRAMES} frames allowed")
    if demuxer != "mov":
        return
    if stream.frames > source.length:
        raise Undecodable("the file is damaged: its header claims more frames than the file has bytes")
    index = stream.index_entries
    if len(index):
        limits.check_length(len(index), (index[-1].timestamp - index[0].timestamp) * float(stream.time_base or 0))


def _first_frame(container: InputContainer, stream: VideoStream, packets: list[VideoPacket]) -> VideoFrame:
    """Return the first frame that can be decoded, and add the packets that were read to `packets`."""
    for packet in islice(demux(container, stream), FIRST_FRAME_PACKETS):
        if len(packets) <= MOST_KEPT_PACKETS:
            packets.append(packet)
        if packet.has_sidedata("encryption_info"):
            raise Undecodable("the video is encrypted (DRM): send it without encryption")
        try:
            frames = _drained(packet) if len(packets) == 1 else []
            if frames := frames or packet.decode():
                return frames[0]
        except InvalidDataError:
            continue
    raise Undecodable("the file is damaged: no frame of it can be decoded")


def _drained(packet: VideoPacket) -> list[VideoFrame]:
    """Return the frame of the first packet, if its decoder would hold it back until it has several more."""
    decoder = packet.stream.codec_context
    if packet.stream.codec.canonical_name not in REORDERED_CODECS:
        return []
    try:
        return decoder.decode(packet) + decoder.decode(None)
    finally:
        decoder.flush_buffers()
