"""Growth of a series: the median slope over all pairs of samples, with a confidence interval.

A median ignores outliers, unlike a least-squares line. Neighbouring samples are correlated, which would make the
interval too narrow, so medians of BLOCKS time spans are compared.

References: Theil 1950, Sen 1968 (interval by the normal approximation of Kendall's S).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKS = 30
LEAST = 5  # blocks with samples
SURE = 3.3  # standard deviations, 99.9 %: each run judges some forty series, and none may fail by chance
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per hour in the unit of the series, with the bounds of its confidence interval."""

    per_hour: float
    low: float
    high: float

    def grows(self, limit: float) -> bool:
        """Return whether the growth certainly exceeds `limit` per hour."""
        return self.low > limit


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Return the slope of samples at `times_s`; raise ValueError if fewer than LEAST blocks have samples."""
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
    """Return the mean times and median values of BLOCKS equal time spans, without empty ones."""
    if len(times) <= BLOCKS:
        return times, values
    edges = np.linspace(times[0], times[-1], BLOCKS + 1)[1:-1]
    place = np.searchsorted(edges, times, side="right")
    masks = [place == number for number in range(BLOCKS) if (place == number).any()]
    return np.array([times[mask].mean() for mask in masks]), np.array([np.median(values[mask]) for mask in masks])
