"""FFmpeg's filters between decoder and scaler: fields made into whole frames, hidden edges cut off."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction

import av.error
from av.filter import Graph
from av.video.frame import VideoFrame

from app.media.geometry import Crop

LEAST = 4  # pixels that bwdif needs each way


def filtered(frames: Iterable[VideoFrame], deinterlace: bool, crop: Crop) -> Iterator[VideoFrame]:
    """Yield every frame of `frames`, cropped; with `deinterlace` those made whole whose fields are of two moments.

    A frame made whole needs the one before and the one after it, so `frames` must leave none out.
    """
    kept: _Graph | None = None
    for frame in frames:
        kind = frame.width, frame.height, frame.format.name
        if kept is None or kind != kept.kind:
            if kept is not None:
                yield from kept.end()
            kept = _Graph(frame, deinterlace, crop)
        yield from kept.push(frame)
    if kept is not None:
        yield from kept.end()


class _Graph:
    """The filters for frames of one size and format, set up by the first of them."""

    def __init__(self, frame: VideoFrame, deinterlace: bool, crop: Crop) -> None:
        self.kind = frame.width, frame.height, frame.format.name
        self._graph = Graph()
        self._graph.threads = 1
        buffer = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
        )
        filters = [buffer]
        if deinterlace and min(frame.width, frame.height) >= LEAST:
            filters.append(self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"))
        if any(crop) and crop.fits(frame.width, frame.height):
            width, height = frame.width - crop.left - crop.right, frame.height - crop.top - crop.bottom
            filters.append(self._graph.add("crop", f"{width}:{height}:{crop.left}:{crop.top}:exact=1"))
        self._graph.link_nodes(*filters, self._graph.add("buffersink")).configure()
        self._stamps: deque[tuple[int | None, int | None]] = deque()  # of frames inside, which come out in this order

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        self._stamps.append((frame.pts, frame.dts))
        self._graph.push(frame)
        yield from self._pulled()

    def end(self) -> Iterator[VideoFrame]:
        self._graph.push(None)
        yield from self._pulled()

    def _pulled(self) -> Iterator[VideoFrame]:
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while self._stamps:
                frame = self._graph.vpull()
                frame.pts, frame.dts = self._stamps.popleft()
                yield frame
