"""Scene cuts, told from how much a frame differs from the one before it, in its colours and in where they are."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

PARTS, BINS = 2, 16  # a histogram for each of 2 x 2 parts of the frame and each colour
CELLS = 12  # and the mean colours of 12 x 12 cells
LEAST = 0.25  # a change that may be a cut: 0 for the same picture, 2 for black to white
USUAL = 4.0  # so many times as large as is usual just now: fast motion goes on
ALONE = 2.5  # so many times as large as the change after it: a camera that is torn round does not stop at once
MEMORY = 8  # changes that tell what is usual


class CutFinder:
    """Is shown frames in order, and tells of a cut when it has seen the frame after it."""

    def __init__(self) -> None:
        self._before: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._usual: deque[float] = deque(maxlen=MEMORY)
        self._last: tuple[float, float] | None = None  # time of the frame before, and how much it changed

    def show(self, time_s: float, frame: NDArray[np.uint8]) -> float | None:
        """Takes the frame at `time_s`, uint8 (H, W, 3); the time of a cut that is certain now."""
        now = _histograms(frame), _cells(frame)
        before, self._before = self._before, now
        if before is None:
            return None
        return self._changed(
            time_s, float(np.abs(now[0] - before[0]).sum()) / 2 + float(np.abs(now[1] - before[1]).mean())
        )

    def stay(self, time_s: float) -> float | None:
        """The last frame is still on screen at `time_s`; the time of a cut that is certain now."""
        return None if self._before is None else self._changed(time_s, 0.0)

    def _changed(self, time_s: float, change: float) -> float | None:
        last, self._last = self._last, (time_s, change)
        if last is None:
            return None
        usual = float(np.median(self._usual)) if self._usual else 0.0
        self._usual.append(last[1])
        return last[0] if last[1] >= max(LEAST, USUAL * usual, ALONE * change) else None


def _histograms(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How often each colour value occurs in each part, smoothed between neighbours; all together sum to 1."""
    height, width = frame.shape[0] // PARTS, frame.shape[1] // PARTS
    found = []
    for row in range(PARTS):
        for column in range(PARTS):
            part = frame[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for colour in range(3):
                counts = np.bincount((part[::2, ::2, colour] >> 4).ravel(), minlength=BINS).astype(np.float64)
                # A brightness that moves from one bin to the next is a small change
                found.append(np.convolve(counts, (0.25, 0.5, 0.25), "same"))
    whole = np.stack(found)
    shares: NDArray[np.float64] = whole / whole.sum()
    return shares


def _cells(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean colours 0..1 of CELLS x CELLS parts of the frame."""
    side = min(frame.shape[:2]) // CELLS
    cut = frame[: side * CELLS, : side * CELLS]
    means: NDArray[np.float64] = cut.reshape(CELLS, side, CELLS, side, 3).mean(axis=(1, 3)) / 255
    return means


__all__ = ["CutFinder"]
