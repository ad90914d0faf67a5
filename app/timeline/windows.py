"""Positions of a timeline's windows: pure arithmetic in seconds.

windows    |----|            each `span_s` long, like a clip of the model
             |----|          `hop_s` after the previous one
               |----|
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_HOP_S = 0.25  # smallest default hop: closer windows of a short clip score nearly the same
STILL_HOP_S = 0.5  # default hop of a model that classifies single frames
HOPS_A_WINDOW = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """Layout of windows over a video of any length: `frames` frames `step_s` seconds apart, every `hop_s` seconds."""

    frames: int
    step_s: float
    hop_s: float

    @property
    def span_s(self) -> float:
        """Seconds from a window's first to its last frame."""
        return (self.frames - 1) * self.step_s

    def fit(self, last_frame_s: float) -> Windows:
        """Return the windows that fit between 0 and `last_frame_s`; one that is padded in a shorter video."""
        return Windows(self, 1 + math.floor(max(0.0, last_frame_s - self.span_s) / self.hop_s + 1e-6))


@dataclass(frozen=True, slots=True)
class Windows:
    """Row of `count` windows on a grid; the frames of window `i` are the nearest to `times_s()[i]`."""

    grid: Grid
    count: int

    def start_s(self, index: int) -> float:
        """Return the start of a window in seconds."""
        return index * self.grid.hop_s

    def middle_s(self, index: int) -> float:
        """Return the middle of a window in seconds."""
        return self.start_s(index) + self.grid.span_s / 2

    def times_s(self, first: int = 0) -> NDArray[np.float64]:
        """Return the frame times of the windows from number `first`, float64 (windows, frames), in seconds."""
        starts = np.arange(first, self.count, dtype=np.float64) * self.grid.hop_s
        return starts[:, None] + np.arange(self.grid.frames) * self.grid.step_s


def grid(frames: int, stride: int, fps: float, window_s: float | None, hop_s: float | None) -> Grid:
    """Return the grid for a model.

    Args:
        frames: Number of frames of the model's clip.
        stride: The clip takes every `stride`-th frame.
        fps: Frame rate at which the model counts, in frames per second.
        window_s: Length of a window in seconds; None keeps the model's own length.
        hop_s: Seconds between windows; None is a quarter of a window, at least LEAST_HOP_S.
    """
    if frames == 1:
        return Grid(1, 0.0, hop_s or STILL_HOP_S)
    step_s = stride / fps if window_s is None else window_s / (frames - 1)
    return Grid(frames, step_s, hop_s or max(LEAST_HOP_S, round((frames - 1) * step_s / HOPS_A_WINDOW, 2)))
