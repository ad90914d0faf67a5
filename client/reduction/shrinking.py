"""The whole video again, small: every frame at its own time, no sound."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import BinaryIO

import av
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from client.reduction.facts import Facts, opened

# More than the model's own short side: what the encoder loses is then mostly lost again in the service's scaling.
MARGIN = 1.5
QUALITY = {"crf": "20", "preset": "superfast"}
GROUP_S = 1.0  # from key frame to key frame: the service looks at single frames, and starts at the one before


def shrunk_size(facts: Facts, short_side: int) -> tuple[int, int]:
    """Width and height, even and never more than the video's own, of frames as they are stored (not turned)."""
    side = min(round(short_side * MARGIN), facts.width, facts.height)
    shorter, longer = sorted((facts.width, facts.height))
    wide = facts.width >= facts.height
    size = [side, round(side * longer / shorter)]
    width, height = (max(2, length // 2 * 2) for length in (reversed(size) if wide else size))
    return (width, height) if facts.rotation % 180 == 0 else (height, width)


def shrink(
    file: BinaryIO, out: BinaryIO, facts: Facts, short_side: int, check: Callable[[float], None]
) -> None:
    """Write to `out` an MP4 of all frames, small; `check` is called with the seconds done, and may raise.

    Raises ValueError, or an error of FFmpeg, for a video that cannot be decoded to its end.
    """
    width, height = shrunk_size(facts, short_side)
    with opened(file) as (source, stream), av.open(out, "w", format="mp4") as target:
        stream.thread_type = "AUTO"
        base = stream.time_base or Fraction(1, 1000)
        small = target.add_stream("libx264", rate=Fraction(facts.fps or 30).limit_denominator(1001), options=QUALITY)
        small.width, small.height, small.pix_fmt = width, height, "yuv420p"
        small.gop_size = max(1, round(GROUP_S * (facts.fps or 30)))
        small.time_base = small.codec_context.time_base = base
        if facts.rotation:
            small.set_display_rotation(-facts.rotation)
        reformatter, first = VideoReformatter(), None
        for frame in source.decode(stream):
            if frame.pts is None:
                raise ValueError("a frame without a time")
            first = frame.pts if first is None else first
            if frame.pts < first:
                continue  # shown before the first key frame
            target.mux(small.encode(_scaled(reformatter, frame, small, frame.pts - first, base)))
            check(float((frame.pts - first) * base))
        if first is None:
            raise ValueError("no frame can be decoded")
        target.mux(small.encode(None))


def _scaled(
    reformatter: VideoReformatter, frame: VideoFrame, small: VideoStream, pts: int, base: Fraction
) -> VideoFrame:
    scaled = reformatter.reformat(
        frame, small.width, small.height, format="yuv420p", interpolation=Interpolation.BICUBIC
    )
    scaled.pts, scaled.time_base, scaled.duration = pts, base, frame.duration
    return scaled
