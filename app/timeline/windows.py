"""Where the windows of a timeline lie: pure arithmetic in seconds.

windows    |----|            each `span_s` long, as a clip of the model is
             |----|          `hop_s` after the one before
               |----|
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_HOP_S = 0.25  # of the default: closer ones of a clip this short say nearly the same
STILL_HOP_S = 0.5  # the default for a model that looks at single frames
HOPS_A_WINDOW = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """How windows lie over a video of any length: `frames` frames `step_s` seconds apart, every `hop_s` seconds."""

    frames: int
    step_s: float
    hop_s: float

    @property
    def span_s(self) -> float:
        """Seconds from a window's first to its last frame."""
        return (self.frames - 1) * self.step_s

    def over(self, last_frame_s: float) -> Windows:
        """As many windows as fit from 0 to `last_frame_s`, the time of the last frame; at least one, then padded."""
        return Windows(self, 1 + math.floor(max(0.0, last_frame_s - self.span_s) / self.hop_s + 1e-6))


@dataclass(frozen=True, slots=True)
class Windows:
    """`count` windows on a grid: window `i` begins at `start_s(i)`, its frames are the nearest to `times_s()[i]`."""

    grid: Grid
    count: int

    def start_s(self, index: int) -> float:
        return index * self.grid.hop_s

    def middle_s(self, index: int) -> float:
        return self.start_s(index) + self.grid.span_s / 2

    def times_s(self, first: int = 0) -> NDArray[np.float64]:
        """Times of the frames of window `first` and all after it, (windows, frames)."""
        starts = np.arange(first, self.count, dtype=np.float64) * self.grid.hop_s
        return starts[:, None] + np.arange(self.grid.frames) * self.grid.step_s


def grid(frames: int, stride: int, fps: float, window_s: float | None, hop_s: float | None) -> Grid:
    """The grid for a model whose clips have `frames` frames, every `stride`-th at `fps`.

    `window_s` stretches or shrinks the model's own span of time; None leaves it. `hop_s` None is a quarter of a
    window, LEAST_HOP_S at least.
    """
    if frames == 1:
        return Grid(1, 0.0, hop_s or STILL_HOP_S)
    step_s = stride / fps if window_s is None else window_s / (frames - 1)
    return Grid(frames, step_s, hop_s or max(LEAST_HOP_S, round((frames - 1) * step_s / HOPS_A_WINDOW, 2)))
