"""Estimate of a run from a sample: `clipstack bulk --dry-run`."""

import random
from collections.abc import Sequence

from .source import Entry
from .stats import Stats

SEED = 1


def sample(entries: Sequence[Entry], size: int) -> tuple[Entry, ...]:
    """Return random files in the order of the list; the same ones each time."""
    chosen = sorted(random.Random(SEED).sample(range(len(entries)), min(size, len(entries))))
    return tuple(entries[index] for index in chosen)


def estimate(entries: Sequence[Entry], stats: Stats) -> tuple[float, float]:
    """Return the seconds for all files by the counts of a sample, which was sent with the run's own concurrency.

    The second number is their relative uncertainty: twice the standard error of the mean time of a file.
    """
    mean = stats.busy_s / stats.done
    variance = max(0.0, stats.busy_squares_s / stats.done - mean**2)
    spread = 2 * (variance / stats.done) ** 0.5 / mean if mean else 0.0
    return stats.elapsed_s * len(entries) / stats.done, spread
