"""One pass over a whole video: its windows, one after the other, and the cuts between its scenes.

Every frame is decoded once and cut out once; only the windows that are not yet complete are held, so memory depends
on how far windows overlap and not on the length of the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.cuts import CutFinder
from app.errors import Undecodable
from app.formats import HEAD_BYTES, cut_off, recognise
from app.frames import centre_crop, scaled_size
from app.media import Media, Source
from app.readers import Reader, open_reader, translated
from app.timeline import Windows
from app.video import nearest

WATCH_S = 0.1  # from one frame that is looked at for a cut to the next; windows may lie farther apart

Place = Callable[[], NDArray[np.uint8]]


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


@dataclass(frozen=True, slots=True)
class End:
    """All was read: `total` frames; `truncated` says that the file was cut off."""

    total: int
    truncated: bool


@dataclass(slots=True)
class _Pending:
    index: int
    row: list[int]
    frames: NDArray[np.uint8]
    written: int = field(default=0)


def sweep(
    source: Source, media: Media, placed: Windows, first: int, resize: int, crop: int, place: Place
) -> Iterator[Window | Cut | End]:
    """Yields every window from number `first` on after writing it, uint8 (T, crop, crop, 3), to what `place` gives.

    A cut is told WATCH_S after it. Raises UnsupportedMedia, LimitExceeded, Undecodable.
    """
    head = source.read(HEAD_BYTES)
    demuxer = recognise(head).name
    with translated():
        reader = open_reader(source, media, demuxer, scaled_size(media.width, media.height, resize))
        yield from _windows(reader, placed, first, crop, place)
        yield End(len(reader.times_s), cut_off(demuxer, head, source.length))


def _windows(reader: Reader, placed: Windows, first: int, crop: int, place: Place) -> Iterator[Window | Cut]:
    times_s = reader.times_s
    rows = ((index, nearest(times_s, placed.times_s(index))) for index in range(first, placed.count))
    coming = next(rows, None)
    watched = _watched(times_s, max(0.0, placed.start_s(first) - WATCH_S))
    numbers = np.flatnonzero(_wanted(times_s, placed, first) | watched).tolist()
    pending: deque[_Pending] = deque()
    cuts = CutFinder()
    for number, frame in zip(numbers, reader.read(numbers), strict=False):
        whole = centre_crop(frame, crop)
        if watched[number] and (cut_s := cuts.show(float(times_s[number]), whole)) is not None:
            yield Cut(round(cut_s, 6))
        while coming and coming[1][0] <= number:
            index, row = coming
            pending.append(_Pending(index, row, np.empty((placed.frames, crop, crop, 3), np.uint8)))
            coming = next(rows, None)
        for window in pending:
            while window.written < placed.frames and window.row[window.written] == number:
                window.frames[window.written] = whole
                window.written += 1
        while pending and pending[0].written == placed.frames:
            done = pending.popleft()
            place()[...] = done.frames
            padded = placed.times_s(done.index)[-1] >= reader.end_s
            yield Window(done.index, tuple(done.row), padded)
    if pending or coming:
        raise Undecodable("the file is damaged: it ends before the wanted frames")


def _wanted(times_s: NDArray[np.float64], placed: Windows, first: int) -> NDArray[np.bool_]:
    """Which frames are in a window from `first` on; bool (frames,)."""
    wanted = np.zeros(len(times_s), np.bool_)
    for index in range(first, placed.count):
        wanted[nearest(times_s, placed.times_s(index))] = True
    return wanted


def _watched(times_s: NDArray[np.float64], start_s: float) -> NDArray[np.bool_]:
    """Which frames are looked at for cuts: one every WATCH_S; bool (frames,)."""
    watched = np.zeros(len(times_s), np.bool_)
    watched[nearest(times_s, np.arange(start_s, float(times_s[-1]) + WATCH_S, WATCH_S).tolist())] = True
    return watched


__all__ = ["Cut", "End", "Window", "sweep"]
