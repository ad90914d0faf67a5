"""FFmpeg filters between decoder and scaler: deinterlacing and cropping."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction

import av.error
from av.filter import Graph
from av.video.frame import VideoFrame

from app.media.geometry import Crop

MIN_SIZE = 4  # pixels that bwdif needs in each dimension


def filter_frames(frames: Iterable[VideoFrame], deinterlace: bool, crop: Crop) -> Iterator[VideoFrame]:
    """Yield every frame of `frames`, cropped; with `deinterlace`, interlaced frames are deinterlaced.

    Deinterlacing a frame needs its neighbours, so `frames` must not skip any.
    """
    graph: _Graph | None = None
    for frame in frames:
        layout = frame.width, frame.height, frame.format.name
        if graph is None or layout != graph.layout:
            if graph is not None:
                yield from graph.end()
            graph = _Graph(frame, deinterlace, crop)
        yield from graph.push(frame)
    if graph is not None:
        yield from graph.end()


class _Graph:
    """Filter graph for frames of one size and format, set up from the first of them."""

    def __init__(self, frame: VideoFrame, deinterlace: bool, crop: Crop) -> None:
        self.layout = frame.width, frame.height, frame.format.name
        self._graph = Graph()
        self._graph.threads = 1
        buffer = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
        )
        filters = [buffer]
        if deinterlace and min(frame.width, frame.height) >= MIN_SIZE:
            filters.append(self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"))
        if any(crop) and crop.fits(frame.width, frame.height):
            width, height = frame.width - crop.left - crop.right, frame.height - crop.top - crop.bottom
            filters.append(self._graph.add("crop", f"{width}:{height}:{crop.left}:{crop.top}:exact=1"))
        self._graph.link_nodes(*filters, self._graph.add("buffersink")).configure()
        self._times: deque[tuple[int | None, int | None]] = deque()  # of frames inside, which come out in this order

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Add a frame and yield the finished ones."""
        self._times.append((frame.pts, frame.dts))
        self._graph.push(frame)
        yield from self._pull()

    def end(self) -> Iterator[VideoFrame]:
        """Flush the graph and yield the remaining frames."""
        self._graph.push(None)
        yield from self._pull()

    def _pull(self) -> Iterator[VideoFrame]:
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while self._times:
                frame = self._graph.vpull()
                frame.pts, frame.dts = self._times.popleft()
                yield frame
