"""Estimate of a run from a sample: `clipstack bulk --dry-run`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .manifest import Part
from .source import Entry, total_bytes
from .stats import Stats

SEED = 1


@dataclass(frozen=True)
class Estimate:
    """Estimated time of all files, from a sample that was sent with the run's own concurrency.

    Attributes:
        files: Number of all files.
        bytes: Their bytes, as far as known.
        sampled: Number of files of the sample.
        failed: Those of them with an error.
        per_s: Files a second.
        seconds: Time of all files.
        spread: Relative uncertainty of the time: twice the standard error of the mean time of a file.
        video_s: Seconds of video in all files.
    """

    files: int
    bytes: int
    sampled: int
    failed: int
    per_s: float
    seconds: float
    spread: float
    video_s: float


def sample(entries: Sequence[Entry], size: int) -> tuple[Entry, ...]:
    """Return random files in the order of the list; the same ones each time."""
    chosen = sorted(random.Random(SEED).sample(range(len(entries)), min(size, len(entries))))
    return tuple(entries[index] for index in chosen)


def sample_part(entries: Sequence[Entry]) -> Part:
    """Return a part of these files, whose results nobody keeps."""
    return Part(0, "sample", tuple(entries))


def estimate(entries: Sequence[Entry], stats: Stats) -> Estimate:
    """Return the estimate for all files from the counts of the sample."""
    mean = stats.busy_s / stats.done
    variance = max(0.0, stats.busy_squares_s / stats.done - mean**2)
    scale = len(entries) / stats.done
    return Estimate(
        files=len(entries),
        bytes=total_bytes(entries),
        sampled=stats.done,
        failed=sum(stats.errors.values()),
        per_s=stats.done / stats.elapsed_s,
        seconds=stats.elapsed_s * scale,
        spread=2 * (variance / stats.done) ** 0.5 / mean if mean else 0.0,
        video_s=stats.video_s * scale,
    )
