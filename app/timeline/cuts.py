"""Scene cut detection from the change in colour histograms and in mean colours between consecutive frames."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

GRID, BINS = 2, 16  # one histogram for each of 2 x 2 parts of the frame and each colour
CELLS = 12  # and the mean colours of 12 x 12 cells
MIN_CHANGE = 0.25  # smallest change of a cut: 0 for equal frames, 2 for black to white
MIN_RATIO_TO_RECENT = 4.0  # smallest ratio to the median of recent changes: fast motion continues
MIN_RATIO_TO_NEXT = 2.5  # smallest ratio to the next change: a camera swing does not stop at once
RECENT = 8  # number of recent changes in the median


class CutFinder:
    """Cut detector that takes frames in order and reports a cut one frame later."""

    def __init__(self) -> None:
        self._previous: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._recent_changes: deque[float] = deque(maxlen=RECENT)
        self._last: tuple[float, float] | None = None  # time of the previous frame, and its change

    def add(self, time_s: float, frame: NDArray[np.uint8]) -> float | None:
        """Add the frame at `time_s`, uint8 (H, W, 3); return the time of a cut that is now certain, or None."""
        features = _histograms(frame), _cells(frame)
        previous, self._previous = self._previous, features
        if previous is None:
            return None
        return self._add_change(
            time_s, float(np.abs(features[0] - previous[0]).sum()) / 2 + float(np.abs(features[1] - previous[1]).mean())
        )

    def add_still(self, time_s: float) -> float | None:
        """Report the last frame still on screen at `time_s`; return the time of a cut that is now certain, or None."""
        return None if self._previous is None else self._add_change(time_s, 0.0)

    def _add_change(self, time_s: float, change: float) -> float | None:
        last, self._last = self._last, (time_s, change)
        if last is None:
            return None
        median = float(np.median(self._recent_changes)) if self._recent_changes else 0.0
        self._recent_changes.append(last[1])
        return last[0] if last[1] >= max(MIN_CHANGE, MIN_RATIO_TO_RECENT * median, MIN_RATIO_TO_NEXT * change) else None


def _histograms(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the colour histogram of each part, smoothed over neighbouring bins, float64 (12, BINS) with sum 1."""
    height, width = frame.shape[0] // GRID, frame.shape[1] // GRID
    histograms = []
    for row in range(GRID):
        for column in range(GRID):
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
    cropped = frame[: side * CELLS, : side * CELLS]
    means: NDArray[np.float64] = cropped.reshape(CELLS, side, CELLS, side, 3).mean(axis=(1, 3)) / 255
    return means
