"""Scene cut detection from the change in colour histograms and in mean colours between consecutive frames."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

PARTS, BINS = 2, 16  # one histogram for each of 2 x 2 parts of the frame and each colour
CELLS = 12  # and the mean colours of 12 x 12 cells
LEAST = 0.25  # smallest change of a cut: 0 for equal frames, 2 for black to white
USUAL = 4.0  # smallest ratio to the median of recent changes: fast motion continues
ALONE = 2.5  # smallest ratio to the next change: a camera swing does not stop at once
MEMORY = 8  # number of recent changes in the median


class CutFinder:
    """Cut detector that takes frames in order and reports a cut one frame later."""

    def __init__(self) -> None:
        self._before: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._usual: deque[float] = deque(maxlen=MEMORY)
        self._last: tuple[float, float] | None = None  # time of the previous frame, and its change

    def show(self, time_s: float, frame: NDArray[np.uint8]) -> float | None:
        """Add the frame at `time_s`, uint8 (H, W, 3); return the time of a cut that is now certain, or None."""
        now = _histograms(frame), _cells(frame)
        before, self._before = self._before, now
        if before is None:
            return None
        return self._changed(
            time_s, float(np.abs(now[0] - before[0]).sum()) / 2 + float(np.abs(now[1] - before[1]).mean())
        )

    def stay(self, time_s: float) -> float | None:
        """Report the last frame still on screen at `time_s`; return the time of a cut that is now certain, or None."""
        return None if self._before is None else self._changed(time_s, 0.0)

    def _changed(self, time_s: float, change: float) -> float | None:
        last, self._last = self._last, (time_s, change)
        if last is None:
            return None
        usual = float(np.median(self._usual)) if self._usual else 0.0
        self._usual.append(last[1])
        return last[0] if last[1] >= max(LEAST, USUAL * usual, ALONE * change) else None


def _histograms(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the colour histogram of each part, smoothed over neighbouring bins, float64 (12, BINS) with sum 1."""
    height, width = frame.shape[0] // PARTS, frame.shape[1] // PARTS
    histograms = []
    for row in range(PARTS):
        for column in range(PARTS):
            part = frame[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for colour in range(3):
                counts = np.bincount((part[::2, ::2, colour] >> 4).ravel(), minlength=BINS).astype(np.float64)
                # A brightness that moves from one bin to the next is a small change
                histograms.append(np.convolve(counts, (0.25, 0.5, 0.25), "same"))
    stacked = np.stack(histograms)
    shares: NDArray[np.float64] = stacked / stacked.sum()
    return shares


def _cells(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean colours of the cells, 0 to 1, float64 (CELLS, CELLS, 3)."""
    side = min(frame.shape[:2]) // CELLS
    cut = frame[: side * CELLS, : side * CELLS]
    means: NDArray[np.float64] = cut.reshape(CELLS, side, CELLS, side, 3).mean(axis=(1, 3)) / 255
    return means


__all__ = ["CutFinder"]
