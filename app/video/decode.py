"""Videos: probing, and decoding of the requested frames, scaled and cropped, into the shared region."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from app.errors import ClipstackError, LimitExceeded, Undecodable
from app.media.colour import conversion
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import centre_crop, open_clips, scaled_size
from app.media.geometry import display_size, orientation
from app.media.sampling import EvenClips, frames_at, place_clips
from app.media.transparency import has_second_picture
from app.media.types import ClipRequest, Conversion, DecodeResult, Limits, Media, Source
from app.video.container import convert_errors, open_container
from app.video.container_crop import container_crop
from app.video.readers import Reader, open_reader

MAX_GIF_FRAMES = 5000  # a GIF has no key frames, so the last frame requires decoding all
FIRST_FRAME_PACKETS = 300  # a broadcast may start inside a group of pictures, which lasts at most 10 s
REASON = 200  # characters


class GpuDecoder(Protocol):
    """Interface of a decoder whose frames stay on a GPU (app/video/gpu_frames.py)."""

    def open_clips(self, request: ClipRequest) -> Sequence[Any]:
        """Return the clips' views of the region's mirror; raises ValueError as `clip_shape`."""

    def open_reader(self, source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader:
        """Open a reader whose frames are on the GPU."""
        ...

    def finish(self) -> None:
        """Wait until all writes are complete."""


def probe(source: Source, limits: Limits) -> Media:
    """Read the properties of a video from its header and first frame.

    A frame size beyond the limits is refused before decoding, a duration only if an index lists all frames.

    Raises:
        UnsupportedMedia: The format or codec is not supported.
        NoVideoStream: The file has no video.
        LimitExceeded: The video is too large or too long.
        Undecodable: The file is damaged.
    """
    head = source.read(HEAD_BYTES)
    demuxer = recognise(head).name
    with convert_errors(), open_container(source, demuxer) as (container, stream):
        limits.check_size(stream.width, stream.height)
        frames, duration_s = stream.frames or None, _duration_s(container, stream)
        if demuxer == "mov":
            if (frames or 0) > source.length:
                raise Undecodable("the file is damaged: it promises more frames than it has bytes")
            _check_index(stream, limits)
        if demuxer == "gif" and (frames or 0) > MAX_GIF_FRAMES:
            raise LimitExceeded(f"the GIF has more than the {MAX_GIF_FRAMES} frames allowed")
        first = _first_frame(container, stream)
        limits.check_size(first.width, first.height)
        crop = container_crop(source, demuxer, stream, (first.width, first.height))
        aspect = None if demuxer == "gif" else stream.sample_aspect_ratio
        width, height = display_size(first.width, first.height, crop, aspect)
        limits.check_size(width, height)
        colours: Conversion = "full" if has_second_picture(stream) else conversion(first)
        rate = stream.average_rate or stream.guessed_rate
        codec = stream.codec.canonical_name
    rotation, mirrored = orientation(first)
    width, height = (width, height)[:: -1 if rotation % 180 else 1]

    return Media(
        kind="video",
        container=_container_name(demuxer, head),
        codec=codec,
        width=width,
        height=height,
        rotation=rotation,
        duration_s=duration_s,
        fps=float(rate) if rate else None,
        frames=frames,
        mirrored=mirrored,
        crop=(*crop,),
        interlaced=first.interlaced_frame,
        conversion=colours,
    )


def decode(
    source: Source, media: Media, request: ClipRequest, limits: Limits | None = None, gpu: GpuDecoder | None = None
) -> DecodeResult:
    """Write the requested clips of a video into the region, or with `gpu` into its mirror there.

    The length of the video is measured first, from its packets, and checked against `limits`; then the clips are
    placed. A time after the end selects the last frame, and the clip counts as padded.

    Raises:
        UnsupportedMedia: The format or codec is not supported.
        LimitExceeded: The video is too long, or needs too much memory.
        Undecodable: The file is damaged.
    """
    reason = ""
    size = scaled_size(media.width, media.height, request.resize)
    demuxer = recognise(source.read(HEAD_BYTES)).name
    if gpu is not None:
        try:
            with convert_errors():
                reader = check_length(gpu.open_reader(source, media, demuxer, size), limits)
                result = _decode(reader, request, gpu.open_clips(request))
            gpu.finish()
            return replace(result, on_gpu=True)
        except (ClipstackError, FFmpegError, RuntimeError, MemoryError) as error:
            # For example a codec that NVDEC lacks, a GPU out of memory, a damaged file: the result of the CPU counts
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {cause}"[:REASON]
    clips = open_clips(request)
    with convert_errors():
        reader = check_length(open_reader(source, media, demuxer, size, request.threads), limits)
        return replace(_decode(reader, request, clips), not_on_gpu=reason)


def check_length(reader: Reader, limits: Limits | None) -> Reader:
    """Return the reader after checking that its video is sufficiently complete and within the limits.

    Raises:
        Undecodable: More than 1 % of the frames, and more than 2, are missing.
        LimitExceeded: The video has too many frames, or is too long.
    """
    total = len(reader.timing.times_s)
    if reader.missing > max(2, total // 100):  # an index that is off by one is not damage
        raise Undecodable("the file is cut off: frames that it promises are missing")
    if limits is not None:
        limits.check_length(total, reader.timing.end_s)
    return reader


def _decode(reader: Reader, request: ClipRequest, clips: Sequence[Any]) -> DecodeResult:
    timing = reader.timing
    clip_times = place_clips(timing, request.clips) if isinstance(request.clips, EvenClips) else request.clips
    rows = [frames_at(timing, row) for row in clip_times]
    _write(reader, rows, clips, request.crop)
    return DecodeResult(
        frames=tuple(tuple(row) for row in rows),
        times_s=tuple(tuple(round(float(timing.times_s[number]), 6) for number in row) for row in rows),
        padded=tuple(max(row) >= timing.end_s for row in clip_times),
        truncated=reader.cut_off,
        total=len(timing.times_s),
        duration_s=round(timing.end_s, 6),
        fps=timing.fps,
    )


def _write(reader: Reader, rows: list[list[int]], clips: Sequence[Any], crop: int) -> None:
    destinations = defaultdict(list)
    for clip, row in zip(clips, rows, strict=True):
        for destination, number in enumerate(row):
            destinations[number].append(clip[destination])
    numbers = sorted(destinations)
    count = 0
    for number, frame in zip(numbers, reader.read(numbers), strict=False):
        for destination in destinations[number]:
            destination[...] = centre_crop(frame, crop)
        count += 1
    if count < len(numbers):
        raise Undecodable("the file is damaged: it ends before the wanted frames")


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


def _check_index(stream: VideoStream, limits: Limits) -> None:
    """Refuse an MP4 that is too long by its index, which lists every frame; a header only makes a claim."""
    index = stream.index_entries
    if len(index):
        limits.check_length(len(index), (index[-1].timestamp - index[0].timestamp) * float(stream.time_base or 0))


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """Return the first frame that can be decoded; it has the rotation and the true coded size."""
    for packet in islice(container.demux(stream), FIRST_FRAME_PACKETS):
        if packet.has_sidedata("encryption_info"):
            raise Undecodable("the video is encrypted (DRM): send it without encryption")
        try:
            for frame in packet.decode():
                return frame
        except InvalidDataError:
            continue
    raise Undecodable("the file is damaged: no frame of it can be decoded")
