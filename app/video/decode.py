"""Videos: decoding of the requested frames, scaled and cropped, into the shared region."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from av.error import FFmpegError

from app.errors import ClipstackError, Undecodable
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import Reader, centre_crop, open_clips, scaled_size
from app.media.sampling import EvenClips, frames_at, place_clips
from app.media.types import ClipRequest, DecodeResult, Limits, Media, Source
from app.video.container import convert_errors
from app.video.probe import DEFAULTS, Resources, open_video, probe
from app.video.readers import open_reader

REASON = 200  # characters


def decode(
    source: Source,
    media: Media,
    request: ClipRequest,
    limits: Limits | None = None,
    resources: Resources = DEFAULTS,
) -> DecodeResult:
    """Write the requested clips of a video into the region, or with a GPU into its mirror there.

    The length of the video is measured first, from its packets, and checked against `limits`; then the clips are
    placed. A time after the end selects the last frame, and the clip counts as padded.

    Raises:
        UnsupportedMedia: The format or codec is not supported.
        LimitExceeded: The video is too long, or needs too much memory.
        Undecodable: The file is damaged.
    """
    reason, gpu, video = "", resources.gpu, resources.video
    size = scaled_size(media.width, media.height, request.resize)
    demuxer = video.demuxer if video else recognise(source.read(HEAD_BYTES)).name
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
        resources = replace(resources, threads=request.threads)
        reader = check_length(open_reader(source, media, demuxer, size, resources), limits)
        return replace(_decode(reader, request, clips), not_on_gpu=reason)


def check_length(reader: Reader, limits: Limits | None) -> Reader:
    """Return the reader; raise Undecodable if more than 1 % of its frames are missing, or LimitExceeded."""
    total = len(reader.timing.times_s)
    if reader.missing > max(2, total // 100):  # an index that is off by one is not damage
        raise Undecodable("the file is cut off: frames in its index are missing; send the complete file")
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
        raise Undecodable("the file is damaged: it ends before the last requested frame")


__all__ = ["check_length", "decode", "open_video", "probe"]
