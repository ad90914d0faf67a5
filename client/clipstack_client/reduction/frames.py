"""Film of only the frames that the model needs, cut to the square that it sees."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from ..models import Clip, Model
from .appearance import BT601, LIMITED_RANGE, check_frame, matrix
from .frame_times import FrameTimes, read_frame_times
from .probe import Facts, open_video
from .sampling import clip_times, film_layout, film_rate

Square = NDArray[np.uint8]  # (side, side, 3), RGB

# High quality: there are few frames, and the model sees nothing else.
QUALITY = {"crf": "10", "preset": "fast"}


@dataclass(frozen=True)
class Target:
    """The model that a reduced file is for, and the number of clips that it samples."""

    model: Model
    clips: int


@dataclass(frozen=True)
class FrameSelection:
    """The selected clips in the service's format, and the video's measured frame count, length and rate."""

    clips: tuple[Clip, ...]
    frames: int
    duration_s: float
    fps: float | None


def write_frames(
    file: BinaryIO, out: BinaryIO, facts: Facts, target: Target, check: Callable[[], None]
) -> FrameSelection:
    """Write an MP4 of the frames that the model needs to `out`; `check` may raise to stop early."""
    model = target.model
    stride, fps = model.stride or 1, model.fps or 1.0
    times = read_frame_times(file)
    nominal_s = clip_times(times, model.frames, stride / fps, target.clips)
    rows = [[times.frame_at(time_s, times.gap_s) for time_s in clip_s] for clip_s in nominal_s]
    numbers = sorted({number for row in rows for number in row})
    squares: dict[int, Square] = {}
    for number, frame in zip(numbers, _frames(file, times, numbers), strict=True):
        check()
        check_frame(frame)
        squares[number] = _square(frame, facts, model)
    film = [squares[rows[clip][number]] for clip, number in film_layout(model.frames, target.clips)]
    _write(out, film, film_rate(model.frames, stride, fps))
    end_s, count = times.end_s, len(times.timestamps)
    return FrameSelection(
        tuple(_clip(times, row, max(clip_s) >= end_s) for row, clip_s in zip(rows, nominal_s, strict=True)),
        count,
        round(end_s, 6),
        round(count / end_s, 3) if end_s > 0 else None,
    )


def _clip(times: FrameTimes, row: list[int], padded: bool) -> Clip:
    times_s = tuple(round(times.time_s(number), 3) for number in row)
    return Clip(times_s[0], times_s[-1], tuple(row), times_s, padded)


def _frames(file: BinaryIO, times: FrameTimes, numbers: Sequence[int]) -> Iterator[VideoFrame]:
    """Yield the frames of rising `numbers`, each decoded from a key frame; raise ValueError if one cannot be."""
    with open_video(file) as (container, stream):
        stream.thread_type = "AUTO"
        decoded: Iterator[VideoFrame] = iter(())
        reached = None
        for number in numbers:
            timestamp = times.timestamps[number]
            key = times.keys[max(0, bisect_right(times.keys, (timestamp, timestamp + 1)) - 1)]
            if reached is None or key[0] > reached:
                container.seek(key[1], stream=stream)
                decoded = container.decode(stream)
            for frame in decoded:
                reached = frame.pts
                if reached is not None and reached >= timestamp:
                    break
            if reached != timestamp:
                raise ValueError("a frame cannot be decoded")
            yield frame


def _square(frame: VideoFrame, facts: Facts, model: Model) -> Square:
    """Return the upright frame scaled to the model's size, and cut to the square around the model's crop."""
    width, height, side = facts.width, facts.height, model.resize
    size = (side, side * height // width) if width <= height else (side * width // height, side)
    scaled = VideoReformatter().reformat(
        frame,
        *(size if facts.rotation % 180 == 0 else size[::-1]),
        format="rgb24",
        src_colorspace=matrix(frame),
        interpolation=Interpolation.BICUBIC,
    )
    upright = np.rot90(scaled.to_ndarray(), -facts.rotation // 90)
    if facts.mirrored:
        upright = upright[:, ::-1]
    top, left = (round((length - model.crop) / 2) - round((side - model.crop) / 2) for length in upright.shape[:2])
    return np.ascontiguousarray(upright[top : top + side, left : left + side])


def _write(out: BinaryIO, squares: Sequence[Square], rate: Fraction) -> None:
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=QUALITY)
        stream.height, stream.width = squares[0].shape[:2]
        stream.pix_fmt = "yuv444p"  # full chroma resolution, because small squares have no detail to lose
        stream.codec_context.max_b_frames = 0
        stream.codec_context.colorspace, stream.codec_context.color_range = BT601, LIMITED_RANGE
        for number, square in enumerate(squares):
            frame = VideoFrame.from_ndarray(square, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
