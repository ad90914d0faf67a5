"""Videos: what one is, and its wanted frames, scaled and cut, written into the shared region."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from app.errors import ClipstackError, LimitExceeded, Undecodable
from app.formats import HEAD_BYTES, cut_off, recognise
from app.frames import centre_crop, open_clips, scaled_size
from app.media import ClipRequest, Decoded, Limits, Media, Source
from app.readers import Reader, open_reader, opened, translated
from app.sampling import from_key_frame

MAX_GIF_FRAMES = 5000  # a GIF has no key frames: the last one costs the decoding of all
FIRST_FRAME_PACKETS = 300  # a broadcast may start in the middle of a group of pictures, 10 s of them at most
REASON = 200  # letters
EQUAL_S = 5e-4  # decord tells times in 32 bits: what is as near by one reader must be by the other


class Gpu(Protocol):
    """Where frames are decoded and stay on a GPU (app/gpu_frames.py)."""

    def open_clips(self, request: ClipRequest) -> Sequence[Any]:
        """Each clip's place in the region's twin; raises ValueError as `clip_shape`."""

    def open_reader(self, source: Source, media: Media, demuxer: str, size: tuple[int, int]) -> Reader: ...

    def finish(self) -> None:
        """Returns when everything that was written is there."""


def probe(source: Source, limits: Limits) -> Media:
    """Read the facts of a video; limits are checked before the first frame is decoded.

    Raises UnsupportedMedia, NoVideoStream, LimitExceeded, Undecodable.
    """
    head = source.read(HEAD_BYTES)
    demuxer = recognise(head).name
    with translated(), opened(source, demuxer) as (container, stream):
        limits.check_size(stream.width, stream.height)
        frames, duration_s = stream.frames or None, _duration_s(container, stream)
        if frames is not None and frames > source.length:
            raise Undecodable("the file is damaged: it promises more frames than it has bytes")
        limits.check_length(frames, duration_s)
        if demuxer == "gif" and (frames or 0) > MAX_GIF_FRAMES:
            raise LimitExceeded(f"the GIF has more than the {MAX_GIF_FRAMES} frames allowed")
        first = _first_frame(container, stream)
        limits.check_size(first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate
        codec = stream.codec.canonical_name
        if duration_s is None:
            frames, duration_s = _measure(source, demuxer, limits)
    rotation = round(-first.rotation / 90) * 90 % 360
    width, height = (first.width, first.height)[:: -1 if rotation % 180 else 1]
    fps = float(rate) if rate else None
    return Media("video", _name(demuxer, head), codec, width, height, rotation, duration_s, fps, frames)


def decode(source: Source, media: Media, request: ClipRequest, gpu: Gpu | None = None) -> Decoded:
    """Write the wanted clips of a video into the region, or with `gpu` into its twin there.

    Each time becomes the frame nearest to it; a time after the end becomes the last frame, and the clip
    counts as padded. Clips with room to move begin at a key frame. Raises UnsupportedMedia, LimitExceeded, Undecodable.
    """
    reason = ""
    if gpu is not None:
        try:
            decoded = _decode(source, media, request, gpu.open_clips(request), gpu.open_reader)
            gpu.finish()
            return replace(decoded, on_gpu=True)
        except (ClipstackError, FFmpegError, RuntimeError, MemoryError) as error:
            # A codec that NVDEC does not know, a GPU without memory, a damaged file: the CPU's verdict counts.
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {cause}"[:REASON]
    decoded = _decode(source, media, request, open_clips(request), partial(open_reader, threads=request.threads))
    return replace(decoded, not_on_gpu=reason)


def _decode(
    source: Source, media: Media, request: ClipRequest, clips: Sequence[Any], reading: Callable[..., Reader]
) -> Decoded:
    head = source.read(HEAD_BYTES)
    demuxer = recognise(head).name
    size = scaled_size(media.width, media.height, request.resize)
    with translated():
        reader = reading(source, media, demuxer, size)
        total = len(reader.times_s)
        if reader.missing > max(2, total // 100):  # an index that is off by one is no damage
            raise Undecodable("the file is cut off: frames that it promises are missing")
        wanted = [list(row) for row in request.times_s]
        if request.rooms_s:
            rooms = zip(wanted, request.rooms_s, strict=True)
            wanted = [from_key_frame(row, room, reader.keys_s) for row, room in rooms]
        rows = [nearest(reader.times_s, row) for row in wanted]
        _write(reader, rows, clips, request.crop)
    return Decoded(
        frames=tuple(tuple(row) for row in rows),
        times_s=tuple(tuple(round(float(reader.times_s[number]), 6) for number in row) for row in rows),
        padded=tuple(max(row) >= reader.end_s for row in wanted),
        truncated=cut_off(demuxer, head, source.length),
        total=total,
    )


def nearest(times_s: NDArray[np.float64], wanted_s: Sequence[float]) -> list[int]:
    """For each wanted time the number of the frame nearest to it, the earlier one of two equally near.

    `times_s` is (frames,) and never falls.
    """
    wanted = np.asarray(wanted_s, np.float64)
    after = np.searchsorted(times_s, wanted).clip(0, len(times_s) - 1)
    before = (after - 1).clip(0)
    closer = np.abs(times_s[before] - wanted) <= np.abs(times_s[after] - wanted) + EQUAL_S
    return [int(number) for number in np.where(closer, before, after)]


def _write(reader: Reader, rows: list[list[int]], clips: Sequence[Any], crop: int) -> None:
    places = defaultdict(list)
    for clip, row in zip(clips, rows, strict=True):
        for place, number in enumerate(row):
            places[number].append(clip[place])
    numbers = sorted(places)
    written = 0
    for number, frame in zip(numbers, reader.read(numbers), strict=False):
        for place in places[number]:
            place[...] = centre_crop(frame, crop)
        written += 1
    if written < len(numbers):
        raise Undecodable("the file is damaged: it ends before the wanted frames")


def _name(demuxer: str, head: bytes) -> str:
    """The container as people call it: one demuxer reads MP4 and QuickTime, one Matroska and WebM."""
    if demuxer == "mov":
        return "mp4" if head[4:8] == b"ftyp" and head[8:12] != b"qt  " else "mov"
    return "webm" if demuxer == "matroska" and b"webm" in head[:64] else demuxer


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds from the first to after the last frame, as the header says."""
    if stream.duration and stream.time_base and stream.duration > 0:  # a damaged one may be less
        return float(stream.duration * stream.time_base)
    if container.duration:
        # Matroska and FLV count from 0, wherever the video starts.
        start_s = float((stream.start_time or 0) * (stream.time_base or 0))
        return max(0.0, container.duration / 1e6 - max(0.0, start_s)) or None
    return None


def _measure(source: Source, demuxer: str, limits: Limits) -> tuple[int, float]:
    """Count frames and seconds by the packets: what a browser recorded does not know its end."""
    first, last, frames = None, 0, 0
    with opened(source, demuxer) as (container, stream):
        base = float(stream.time_base or 1)
        for packet in islice(container.demux(stream), limits.max_frames + 1):
            if packet.pts is not None:
                first = packet.pts if first is None else min(first, packet.pts)
                # A damaged packet may last less than nothing
                last, frames = max(last, packet.pts + max(0, packet.duration or 0)), frames + 1
    duration_s = (last - (first or 0)) * base
    limits.check_length(frames, duration_s)
    return frames, duration_s


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """The first frame that can be decoded; it carries the rotation, and the size that is really coded."""
    for packet in islice(container.demux(stream), FIRST_FRAME_PACKETS):
        try:
            for frame in packet.decode():
                return frame
        except InvalidDataError:
            continue
    raise Undecodable("the file is damaged: no frame of it can be decoded")
