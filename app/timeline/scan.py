"""Single pass over a whole video that yields its windows in order and the cuts between its scenes.

Each frame is decoded and cropped once. Only incomplete windows are held, so memory depends on how far windows overlap
and not on the length of the video.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import LimitExceeded, Undecodable
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import centre_crop, scaled_size
from app.media.sampling import Timing, frames_at
from app.media.types import Limits, Media, Source
from app.timeline.cuts import CutFinder
from app.timeline.windows import Grid, Windows
from app.video.container import convert_errors
from app.video.decode import check_length
from app.video.readers import Reader, open_sequentially

WATCH_S = 0.1  # between two frames that are compared for a cut; windows may lie farther apart
STILL_S = 2.0  # a frame shown for this long is a still, not part of a low frame rate
WARM_S = 1.5  # of video that a resumed scan compares before it may report a cut
TELL_S = 0.25  # real time between two ScanProgress events

Place = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """Parameters of a scan: windows on `grid` from number `first`, scaled to `resize` and cropped to `crop` pixels.

    A video with more windows than `most`, or beyond `limits`, is refused.
    """

    grid: Grid
    first: int
    resize: int
    crop: int
    most: int
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class ScanStarted:
    """Start of a scan: `placed` windows over the measured `duration_s` seconds and `total` frames."""

    placed: Windows
    duration_s: float
    total: int
    truncated: bool
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """Progress event: the scan is at `time_s` seconds of the video."""

    time_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """Window that has been written: its number, its frame numbers, and whether the last frame was repeated."""

    index: int
    frames: tuple[int, ...]
    padded: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """Scene cut: a new scene begins at `time_s` seconds."""

    time_s: float


Event = ScanStarted | ScanProgress | Window | Cut


def sweep(source: Source, media: Media, look: ScanSpec, place: Place) -> Iterator[Event]:
    """Yield ScanStarted, then every window from number `look.first`, written to `place()` as uint8 (T, crop, crop, 3).

    A cut is reported WATCH_S after it. Cuts before the last frame of window `look.first - 1` are not reported again.

    Raises:
        UnsupportedMedia: No reader supports the file.
        LimitExceeded: The video is longer than the limits, or has more windows than `look.most`.
        Undecodable: The file is damaged.
    """
    demuxer = recognise(source.read(HEAD_BYTES)).name
    with convert_errors():
        size = scaled_size(media.width, media.height, look.resize)
        reader = check_length(open_sequentially(source, media, demuxer, size), look.limits)
        timing = reader.timing
        placed = look.grid.over(timing.last_s)
        if placed.count > look.most:
            raise LimitExceeded(f"the timeline has more than the {look.most} windows allowed: choose a larger hop_s")
        yield ScanStarted(placed, round(timing.end_s, 6), len(timing.times_s), reader.cut_off, timing.fps)
        yield from _windows(reader, placed, look, place)


def _windows(reader: Reader, placed: Windows, look: ScanSpec, place: Place) -> Iterator[Event]:
    timing, times_s = reader.timing, reader.timing.times_s
    rows = _rows(timing, placed, look.first)
    report_from_s = placed.start_s(look.first - 1) + placed.grid.span_s - WATCH_S if look.first else 0.0
    watched = _watched(timing, max(0.0, report_from_s - WARM_S))
    is_needed = watched.copy()
    is_needed[rows] = True
    numbers = np.flatnonzero(is_needed).tolist()
    gathering = _Gathering(rows, look)
    cuts = CutFinder()
    last_report = time.monotonic()
    for number, frame in zip(numbers, reader.read(numbers), strict=False):
        cropped = centre_crop(frame, look.crop)
        now_s = float(times_s[number])
        if watched[number]:
            for cut_s in _cuts(cuts, timing, number, cropped):
                if cut_s >= report_from_s:
                    yield Cut(round(cut_s, 6))
        for complete in gathering.show(number, cropped):
            for index in range(complete.index, complete.index + complete.count):
                place()[...] = complete.frames
                yield Window(index, tuple(complete.row), placed.start_s(index) + placed.grid.span_s >= timing.end_s)
        if time.monotonic() - last_report >= TELL_S:
            last_report = time.monotonic()
            yield ScanProgress(now_s)
    if gathering.misses_frames:
        raise Undecodable("the file is damaged: it ends before the wanted frames")


def _cuts(cuts: CutFinder, timing: Timing, number: int, frame: NDArray[np.uint8]) -> list[float]:
    """Return the cuts at a frame; a still is shown twice, so that a cut to it is certain at once."""
    now_s = float(timing.times_s[number])
    after = int(np.searchsorted(timing.times_s, now_s, side="right"))
    until_s = float(timing.times_s[after]) if after < len(timing.times_s) else timing.end_s
    cut_times = [cuts.show(now_s, frame)]
    if until_s - now_s >= STILL_S:
        cut_times.append(cuts.stay(now_s + WATCH_S))
    return [cut_s for cut_s in cut_times if cut_s is not None]


@dataclass(slots=True)
class _Pending:
    """Run of `count` windows from number `index` that show the same frames."""

    index: int
    row: list[int]
    frames: NDArray[np.uint8]
    count: int = 1
    written: int = 0


class _Gathering:
    """Incomplete windows, in order.

    Consecutive windows with the same frames share one entry: a frame that lasts an hour needs one, not thousands.
    """

    def __init__(self, rows: NDArray[np.int64], look: ScanSpec) -> None:
        self._rows, self._first, self._side = rows, look.first, look.crop
        self._begun = 0  # number of rows
        self._pending: deque[_Pending] = deque()

    def show(self, number: int, frame: NDArray[np.uint8]) -> Iterator[_Pending]:
        """Add frame `number`, uint8 (crop, crop, 3), and yield the windows that it completes, in order."""
        while self._begun < len(self._rows) and self._rows[self._begun, 0] <= number:
            self._begin(self._rows[self._begun].tolist())
        for window in self._pending:
            while window.written < len(window.row) and window.row[window.written] == number:
                window.frames[window.written] = frame
                window.written += 1
        while self._pending and self._pending[0].written == len(self._pending[0].row):
            yield self._pending.popleft()

    def _begin(self, row: list[int]) -> None:
        if self._pending and self._pending[-1].row == row:
            self._pending[-1].count += 1
        else:
            frames = np.empty((len(row), self._side, self._side, 3), np.uint8)
            self._pending.append(_Pending(self._first + self._begun, row, frames))
        self._begun += 1

    @property
    def misses_frames(self) -> bool:
        """True while a window is incomplete or has not begun."""
        return bool(self._pending) or self._begun < len(self._rows)


def _rows(timing: Timing, placed: Windows, first: int) -> NDArray[np.int64]:
    """Return the frame numbers of the windows from number `first`, int64 (windows, frames)."""
    times_s = placed.times_s(first)
    return np.array(frames_at(timing, times_s.ravel()), np.int64).reshape(times_s.shape)


def _watched(timing: Timing, start_s: float) -> NDArray[np.bool_]:
    """Return which frames are compared for cuts, bool (frames,).

    It is one frame every WATCH_S, on the same raster for every `start_s`.
    """
    watched = np.zeros(len(timing.times_s), np.bool_)
    count = int(float(timing.times_s[-1]) / WATCH_S) + 2
    watched[frames_at(timing, np.arange(int(start_s / WATCH_S), count) * WATCH_S)] = True
    return watched
