"""Single pass over a whole video that yields its windows in order and the cuts between its scenes.

Each frame is decoded and cropped once. Only incomplete windows are held, so memory depends on how far windows overlap
and not on the length of the video.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import LimitExceeded, Undecodable
from app.media.formats import HEAD_BYTES, recognise
from app.media.frames import Reader, centre_crop, scaled_size
from app.media.sampling import Timing, frames_at
from app.media.types import Limits, Media, Source
from app.timeline.cuts import CutFinder
from app.timeline.windows import Grid, Windows
from app.video.container import convert_errors
from app.video.decode import check_length
from app.video.readers import open_sequentially

COMPARE_INTERVAL_S = 0.1  # between two frames that are compared for a cut; windows may lie farther apart
STILL_S = 2.0  # a frame shown for this long is a still, not part of a low frame rate
WARM_UP_S = 1.5  # of video that a resumed scan compares before it may report a cut
PROGRESS_INTERVAL_S = 0.25  # real time between two ScanProgress events

NextSlot = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """Parameters of a scan: windows on `grid` from number `first`, scaled to `resize` and cropped to `crop` pixels.

    A video with more windows than `max_windows`, or beyond `limits`, is refused.
    """

    grid: Grid
    first: int
    resize: int
    crop: int
    max_windows: int
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Scan to run: the file, its properties and the parameters."""

    source: Source
    media: Media
    spec: ScanSpec


@dataclass(frozen=True, slots=True)
class ScanStarted:
    """Start of a scan: `windows` over the measured `duration_s` seconds and `total` frames."""

    windows: Windows
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


def scan(source: Source, media: Media, spec: ScanSpec, next_slot: NextSlot) -> Iterator[Event]:
    """Yield ScanStarted, then every window from number `spec.first`.

    Each is written to `next_slot()` as uint8 (T, crop, crop, 3). A cut is reported COMPARE_INTERVAL_S after it. Cuts
    before the last frame of window `spec.first - 1` are not reported again.

    Raises:
        UnsupportedMedia: No reader supports the file.
        LimitExceeded: The video is longer than the limits, or has more windows than `spec.max_windows`.
        Undecodable: The file is damaged.
    """
    demuxer = recognise(source.read(HEAD_BYTES)).name
    with convert_errors():
        size = scaled_size(media.width, media.height, spec.resize)
        reader = check_length(open_sequentially(source, media, demuxer, size), spec.limits)
        timing = reader.timing
        windows = spec.grid.fit(timing.last_s)
        if windows.count > spec.max_windows:
            raise LimitExceeded(
                f"the timeline has more than the {spec.max_windows} windows allowed: choose a larger hop_s"
            )
        yield ScanStarted(windows, round(timing.end_s, 6), len(timing.times_s), reader.cut_off, timing.fps)
        yield from _windows(reader, windows, spec, next_slot)


def _windows(reader: Reader, windows: Windows, spec: ScanSpec, next_slot: NextSlot) -> Iterator[Event]:
    timing, times_s = reader.timing, reader.timing.times_s
    window_frames = _frame_numbers(timing, windows, spec.first)
    first_cut_s = windows.start_s(spec.first - 1) + windows.grid.span_s - COMPARE_INTERVAL_S if spec.first else 0.0
    compared = _compared_frames(timing, max(0.0, first_cut_s - WARM_UP_S))
    is_needed = compared.copy()
    is_needed[window_frames] = True
    numbers = np.flatnonzero(is_needed).tolist()
    pending = _PendingWindows(window_frames, spec)
    cuts = CutFinder()
    last_report = time.monotonic()
    for number, frame in zip(numbers, reader.read(numbers), strict=False):
        cropped = centre_crop(frame, spec.crop)
        time_s = float(times_s[number])
        if compared[number]:
            for cut_s in _cuts(cuts, timing, number, cropped):
                if cut_s >= first_cut_s:
                    yield Cut(round(cut_s, 6))
        for run in pending.add(number, cropped):
            for index in range(run.index, run.index + run.count):
                next_slot()[...] = run.frames
                yield Window(index, tuple(run.numbers), windows.start_s(index) + windows.grid.span_s >= timing.end_s)
        if time.monotonic() - last_report >= PROGRESS_INTERVAL_S:
            last_report = time.monotonic()
            yield ScanProgress(time_s)
    if pending.is_incomplete:
        raise Undecodable("the file is damaged: it ends before the last requested frame")


def _cuts(cuts: CutFinder, timing: Timing, number: int, frame: NDArray[np.uint8]) -> list[float]:
    """Return the cuts at a frame; a still is shown twice, so that a cut to it is certain at once."""
    time_s = float(timing.times_s[number])
    following = int(np.searchsorted(timing.times_s, time_s, side="right"))
    until_s = float(timing.times_s[following]) if following < len(timing.times_s) else timing.end_s
    cut_times = [cuts.add(time_s, frame)]
    if until_s - time_s >= STILL_S:
        cut_times.append(cuts.add_still(time_s + COMPARE_INTERVAL_S))
    return [cut_s for cut_s in cut_times if cut_s is not None]


@dataclass(slots=True)
class _Pending:
    """Run of `count` windows from number `index` that show the same frames."""

    index: int
    numbers: list[int]
    frames: NDArray[np.uint8]
    count: int = 1
    filled: int = 0


class _PendingWindows:
    """Incomplete windows, in order; those with the same frames share one entry, for a frame that lasts an hour."""

    def __init__(self, rows: NDArray[np.int64], spec: ScanSpec) -> None:
        self._rows, self._first, self._side = rows, spec.first, spec.crop
        self._started = 0  # number of rows
        self._pending: deque[_Pending] = deque()

    def add(self, number: int, frame: NDArray[np.uint8]) -> Iterator[_Pending]:
        """Add frame `number`, uint8 (crop, crop, 3), and yield the windows that it completes, in order."""
        while self._started < len(self._rows) and self._rows[self._started, 0] <= number:
            self._start(self._rows[self._started].tolist())
        for window in self._pending:
            while window.filled < len(window.numbers) and window.numbers[window.filled] == number:
                window.frames[window.filled] = frame
                window.filled += 1
        while self._pending and self._pending[0].filled == len(self._pending[0].numbers):
            yield self._pending.popleft()

    def _start(self, numbers: list[int]) -> None:
        if self._pending and self._pending[-1].numbers == numbers:
            self._pending[-1].count += 1
        else:
            frames = np.empty((len(numbers), self._side, self._side, 3), np.uint8)
            self._pending.append(_Pending(self._first + self._started, numbers, frames))
        self._started += 1

    @property
    def is_incomplete(self) -> bool:
        """True while a window is incomplete or has not begun."""
        return bool(self._pending) or self._started < len(self._rows)


def _frame_numbers(timing: Timing, windows: Windows, first: int) -> NDArray[np.int64]:
    """Return the frame numbers of the windows from number `first`, int64 (windows, frames)."""
    times_s = windows.times_s(first)
    return np.array(frames_at(timing, times_s.ravel()), np.int64).reshape(times_s.shape)


def _compared_frames(timing: Timing, start_s: float) -> NDArray[np.bool_]:
    """Return which frames are compared, bool (frames,): one every COMPARE_INTERVAL_S, whatever the start."""
    compared = np.zeros(len(timing.times_s), np.bool_)
    count = int(float(timing.times_s[-1]) / COMPARE_INTERVAL_S) + 2
    compared[frames_at(timing, np.arange(int(start_s / COMPARE_INTERVAL_S), count) * COMPARE_INTERVAL_S)] = True
    return compared
