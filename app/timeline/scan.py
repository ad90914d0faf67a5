"""One pass over a whole video: its windows, one after the other, and the cuts between its scenes.

Every frame is decoded once and cut out once; only the windows that are not yet complete are held, so memory depends
on how far windows overlap and not on the length of the video.
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
from app.video.decode import measured
from app.video.readers import Reader, open_sequentially, translated

WATCH_S = 0.1  # from one frame that is looked at for a cut to the next; windows may lie farther apart
STILL_S = 2.0  # a frame that stays so long is a still, not one of few frames a second
WARM_S = 1.5  # of video that a pass from the middle looks at before it may tell of a cut
TELL_S = 0.25  # of real time between two words on how far the pass is

Place = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """What a model looks at: windows on `grid` from number `first` on, scaled to `resize` and cut to `crop` pixels.

    A video with more windows than `most`, or longer than `limits`, is refused.
    """

    grid: Grid
    first: int
    resize: int
    crop: int
    most: int
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class ScanStarted:
    """What comes: `placed` windows over the `duration_s` seconds and `total` frames that were measured."""

    placed: Windows
    duration_s: float
    total: int
    truncated: bool
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """The pass is at `time_s` of the video."""

    time_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """A window that has been written: its number, the numbers of its frames, and whether the last was repeated."""

    index: int
    frames: tuple[int, ...]
    padded: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A new scene begins at `time_s`."""

    time_s: float


Event = ScanStarted | ScanProgress | Window | Cut


def sweep(source: Source, media: Media, look: ScanSpec, place: Place) -> Iterator[Event]:
    """Yields Begin, then every window from number `look.first` on, written to `place()` as uint8 (T, crop, crop, 3).

    A cut is told WATCH_S after it; one before the last frame of window `look.first - 1` is not told again. Raises
    UnsupportedMedia, LimitExceeded, Undecodable.
    """
    demuxer = recognise(source.read(HEAD_BYTES)).name
    with translated():
        size = scaled_size(media.width, media.height, look.resize)
        reader = measured(open_sequentially(source, media, demuxer, size), look.limits)
        timing = reader.timing
        placed = look.grid.over(timing.last_s)
        if placed.count > look.most:
            raise LimitExceeded(f"the timeline has more than the {look.most} windows allowed: choose a larger hop_s")
        yield ScanStarted(placed, round(timing.end_s, 6), len(timing.times_s), reader.cut_off, timing.fps)
        yield from _windows(reader, placed, look, place)


def _windows(reader: Reader, placed: Windows, look: ScanSpec, place: Place) -> Iterator[Event]:
    timing, times_s = reader.timing, reader.timing.times_s
    rows = _rows(timing, placed, look.first)
    told_s = placed.start_s(look.first - 1) + placed.grid.span_s - WATCH_S if look.first else 0.0
    watched = _watched(timing, max(0.0, told_s - WARM_S))
    wanted = watched.copy()
    wanted[rows] = True
    numbers = np.flatnonzero(wanted).tolist()
    gathering = _Gathering(rows, look)
    cuts = CutFinder()
    told = time.monotonic()
    for number, frame in zip(numbers, reader.read(numbers), strict=False):
        whole = centre_crop(frame, look.crop)
        now_s = float(times_s[number])
        if watched[number]:
            for cut_s in _cuts(cuts, timing, number, whole):
                if cut_s >= told_s:
                    yield Cut(round(cut_s, 6))
        for done in gathering.show(number, whole):
            for index in range(done.index, done.index + done.count):
                place()[...] = done.frames
                yield Window(index, tuple(done.row), placed.start_s(index) + placed.grid.span_s >= timing.end_s)
        if time.monotonic() - told >= TELL_S:
            told = time.monotonic()
            yield ScanProgress(now_s)
    if gathering.misses_frames:
        raise Undecodable("the file is damaged: it ends before the wanted frames")


def _cuts(cuts: CutFinder, timing: Timing, number: int, frame: NDArray[np.uint8]) -> list[float]:
    """Show a frame; one that stays on screen is shown twice, so that a cut to a still is certain at once."""
    now_s = float(timing.times_s[number])
    after = int(np.searchsorted(timing.times_s, now_s, side="right"))
    until_s = float(timing.times_s[after]) if after < len(timing.times_s) else timing.end_s
    found = [cuts.show(now_s, frame)]
    if until_s - now_s >= STILL_S:
        found.append(cuts.stay(now_s + WATCH_S))
    return [cut_s for cut_s in found if cut_s is not None]


@dataclass(slots=True)
class _Pending:
    """`count` windows from number `index` on, which show the same frames."""

    index: int
    row: list[int]
    frames: NDArray[np.uint8]
    count: int = 1
    written: int = 0


class _Gathering:
    """The windows that are not yet complete: where one frame lasts an hour, they are one and not thousands."""

    def __init__(self, rows: NDArray[np.int64], look: ScanSpec) -> None:
        self._rows, self._first, self._side = rows, look.first, look.crop
        self._begun = 0  # rows
        self._pending: deque[_Pending] = deque()

    def show(self, number: int, frame: NDArray[np.uint8]) -> Iterator[_Pending]:
        """Takes frame `number`, uint8 (crop, crop, 3); the windows that it completes, in order."""
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
        """Whether a window is still to be completed, or to begin."""
        return bool(self._pending) or self._begun < len(self._rows)


def _rows(timing: Timing, placed: Windows, first: int) -> NDArray[np.int64]:
    """Numbers of the frames of window `first` and all after it, (windows, frames)."""
    wanted = placed.times_s(first)
    return np.array(frames_at(timing, wanted.ravel()), np.int64).reshape(wanted.shape)


def _watched(timing: Timing, start_s: float) -> NDArray[np.bool_]:
    """Which frames are looked at for cuts: one every WATCH_S, the same whatever `start_s`; bool (frames,)."""
    watched = np.zeros(len(timing.times_s), np.bool_)
    count = int(float(timing.times_s[-1]) / WATCH_S) + 2
    watched[frames_at(timing, np.arange(int(start_s / WATCH_S), count) * WATCH_S)] = True
    return watched
