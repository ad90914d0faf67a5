"""Timings of videos that no reader has measured."""

import numpy as np

from app.media.sampling import Timing


def regular(count: int, fps: float, keys_s: tuple[float, ...] = (0.0,)) -> Timing:
    """Return `count` frames at a constant rate."""
    return Timing.of(np.arange(count) / fps, np.array(keys_s), count / fps)
