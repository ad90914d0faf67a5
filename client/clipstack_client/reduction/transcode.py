"""Encode a whole video at a smaller size: every frame at its own time, without sound."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import BinaryIO

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from .appearance import LIMITED_RANGE, check_frame, matrix
from .frame_times import packets_on_clock
from .probe import Facts, open_video

# Twice the model's frame: most encoding losses disappear when the service scales, and both sides are even with exactly
# the aspect ratio that the service gives the video.
MARGIN = 2
QUALITY = {"crf": "20", "preset": "veryfast"}
GROUP_S = 1.0  # seconds between key frames: the service decodes single frames from the preceding key frame


def shrunk_size(facts: Facts, short_side: int) -> tuple[int, int]:
    """Return width and height of the small video's stored frames, before rotation; both are even."""
    if facts.width <= facts.height:
        size = (short_side * MARGIN, short_side * facts.height // facts.width * MARGIN)
    else:
        size = (short_side * facts.width // facts.height * MARGIN, short_side * MARGIN)
    if size[0] > facts.width:
        size = (facts.width // 2 * 2, facts.height // 2 * 2)
    return size if facts.rotation % 180 == 0 else (size[1], size[0])


def shrink(file: BinaryIO, out: BinaryIO, facts: Facts, short_side: int, check: Callable[[float], None]) -> None:
    """Write a small video of all frames to `out`; `check` is called with the seconds done and may raise.

    The result is Matroska for Matroska, else MP4: length and rate then read the same, and the service takes the same
    frames. Raise ValueError if a frame has no time or needs the service's conversion, FFmpegError if one cannot be
    decoded.
    """
    kind = "matroska" if facts.container in ("matroska", "webm") else "mp4"
    with open_video(file) as (source, stream), av.open(out, "w", format=kind) as target:
        stream.thread_type = "AUTO"
        small = target.add_stream("libx264", rate=Fraction(facts.fps or 30).limit_denominator(1001), options=QUALITY)
        small.width, small.height = shrunk_size(facts, short_side)
        small.pix_fmt = "yuv420p"
        small.gop_size = max(1, round(GROUP_S * (facts.fps or 30)))
        base = stream.time_base or Fraction(1, 1000)
        small.time_base = small.codec_context.time_base = base
        if facts.rotation or facts.mirrored:
            small.set_display_rotation(-facts.rotation, hflip=facts.mirrored)
        reformatter = VideoReformatter()
        space = 0
        last = duration = 0
        for frame in _frames_from_zero(source, stream):
            check_frame(frame)
            if not space:  # the small video is no longer HD, so its matrix must be explicit
                space = small.codec_context.colorspace = matrix(frame)
                small.codec_context.color_range = LIMITED_RANGE
            scaled = reformatter.reformat(
                frame,
                small.width,
                small.height,
                "yuv420p",
                src_colorspace=matrix(frame),
                dst_colorspace=space,
                interpolation=Interpolation.BICUBIC,
                dst_color_range=LIMITED_RANGE,
            )
            scaled.pts, scaled.time_base = frame.pts, base
            target.mux(small.encode(scaled))
            last, duration = frame.pts or 0, frame.duration
            check(frame.time or 0.0)
        for packet in small.encode(None):
            if packet.pts == last and duration > 0:
                packet.duration = duration
            target.mux(packet)


def _frames_from_zero(source: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield the frames with times that rise from 0."""
    first, last = None, -1
    for frame in (frame for packet in packets_on_clock(source, stream) for frame in packet.decode()):
        if frame.pts is None:
            raise ValueError("a frame without a time")
        first = frame.pts if first is None else first
        frame.pts -= first
        if frame.pts > last:  # otherwise it is shown before the first key frame, or twice
            last = frame.pts
            yield frame
    if first is None:
        raise ValueError("no frame can be decoded")
