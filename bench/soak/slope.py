"""Does something grow? By the median of the slopes between all pairs of samples, and the range in which it surely lies.

A few strange samples do not matter to a median, unlike to a least-squares line. Neighbouring samples are alike, which
would make the range too narrow: so medians of BLOCKS spans of time are compared, and not the samples themselves.

References: Theil 1950, Sen 1968 (the range by the normal approximation of Kendall's S).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKS = 30
LEAST = 5  # blocks with something in them
SURE = 3.3  # standard deviations, 99.9 %: some forty series are judged in each run, and none may fail by chance
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth an hour in the series' own unit, and between what it surely lies."""

    per_hour: float
    low: float
    high: float

    def grows(self, limit: float) -> bool:
        """Whether it surely grows by more than `limit` an hour."""
        return self.low > limit


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Of samples at `times_s`, at least LEAST blocks of them; raises ValueError for fewer."""
    times, medians = _blocks(np.asarray(times_s, float), np.asarray(values, float))
    count = len(times)
    if count < LEAST:
        raise ValueError(f"{count} spans of time are too few to see growth in")
    left, right = np.triu_indices(count, 1)
    slopes = np.sort((medians[right] - medians[left]) / (times[right] - times[left])) * HOUR_S
    margin = SURE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lowest = max(0, math.floor((len(slopes) - margin) / 2))
    highest = min(len(slopes) - 1, math.ceil((len(slopes) + margin) / 2))
    return Slope(float(np.median(slopes)), float(slopes[lowest]), float(slopes[highest]))


def _blocks(times: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The medians of the samples of each of BLOCKS equal spans of time, those without any left out."""
    if len(times) <= BLOCKS:
        return times, values
    edges = np.linspace(times[0], times[-1], BLOCKS + 1)[1:-1]
    place = np.searchsorted(edges, times, side="right")
    found = [place == number for number in range(BLOCKS) if (place == number).any()]
    return np.array([times[each].mean() for each in found]), np.array([np.median(values[each]) for each in found])
