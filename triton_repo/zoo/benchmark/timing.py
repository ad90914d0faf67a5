"""Measures the engines of a model against each other, in turns, and says which one is the best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from triton_repo.backends.clip.clip_engines import Engine
from triton_repo.zoo.benchmark.accuracy import AccuracyRow
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.export.reference import Clips

Clock = Callable[[], float]

ROUNDS = 5
PAUSE_S = 0.05  # the threads of the engine before stop looking for work
# An engine so many times slower than the fastest, whose clip takes such a part of the time, is measured no further.
HOPELESS, TOO_LONG = 5.0, 0.05
# So much better another engine must be to take the place of the present one: less may be chance.
WORTH_IT = 1.05


@dataclass
class Timing:
    """Of one engine: seconds of every lone clip, and clips a second of each batch size, one figure a round."""

    lone_s: list[float] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=dict)

    def p(self, percent: float) -> float:
        """Percentile of a lone clip, milliseconds."""
        return float(np.percentile(self.lone_s, percent)) * 1e3

    def rate(self, batch: int) -> float:
        """Clips a second in batches of that size, the median round."""
        return median(self.rates[batch])

    @property
    def spread(self) -> float:
        """Half the way from the worst round to the best, as a part of the median; of the size that differs most."""
        return max((max(found) - min(found)) / 2 / median(found) for found in self.rates.values())


@dataclass(frozen=True)
class Result:
    """What is known of one engine in one precision; `row` is None where it was too slow to be compared."""

    variant: Variant
    timing: Timing
    row: AccuracyRow | None

    @property
    def good(self) -> bool:
        return self.row is not None and self.row.good


def first_clip_s(engine: Engine, clip: Clips) -> float:
    """Seconds of the second clip that an engine sees: the first one prepares."""
    engine.infer(clip)
    start = time.perf_counter()
    engine.infer(clip)
    return time.perf_counter() - start


def hopeless(lone_s: Mapping[Variant, float], seconds: float) -> set[Variant]:
    """Those which would take all the time and could not be the best."""
    fastest = min(lone_s.values())
    return {
        variant for variant, lone in lone_s.items() if lone > HOPELESS * fastest and lone > TOO_LONG * seconds
    }  # fmt: skip


def measure(
    engines: Mapping[Variant, Engine],
    clips: Clips,
    sizes: Sequence[int],
    seconds: float,
    clock: Clock = time.perf_counter,
) -> dict[Variant, Timing]:
    """Times of warm engines, in ROUNDS rounds in which each has its turn; about `seconds` in all.

    `clips` are as many as the largest of `sizes`, which begin with 1. A size that would take an engine longer than its
    share of the time is left out, and rounds that do not fit into it are.
    """
    timings = {variant: Timing() for variant in engines}
    share = seconds / len(engines)
    deadline = clock() + seconds
    for number in range(ROUNDS):
        turns = list(engines.items())
        for variant, engine in turns[number % len(turns) :] + turns[: number % len(turns)]:
            if number == 0 or clock() < deadline:
                time.sleep(PAUSE_S)
                _turn(engine, timings[variant], clips, sizes, share, clock)
    return timings


def _turn(engine: Engine, timing: Timing, clips: Clips, sizes: Sequence[int], share: float, clock: Clock) -> None:
    for size in sizes:
        if size > 1 and size * median(timing.lone_s) > share / len(sizes):
            continue
        batch, runs = clips[:size], 0
        start = now = clock()
        while runs == 0 or now - start < share / len(sizes) / ROUNDS:
            engine.infer(batch)
            before, now, runs = now, clock(), runs + 1
            if size == 1:
                timing.lone_s.append(now - before)
        timing.rates.setdefault(size, []).append(size * runs / (now - start))


def best(results: Sequence[Result], present: Variant) -> Result | None:
    """The fastest that answers as its source, the present one unless another is clearly faster; None if none is good.

    Fast is, in equal parts, a lone clip and clips of the largest batch that all of them were measured with.
    """
    good = [result for result in results if result.good]
    if not good:
        return None
    batch = max(set.intersection(*(set(result.timing.rates) for result in good)))

    def speed(result: Result) -> float:
        return math.sqrt(result.timing.rate(batch) / result.timing.p(50))

    fastest = max(good, key=speed)
    now = next((result for result in good if result.variant == present), fastest)
    return fastest if speed(fastest) > WORTH_IT * speed(now) else now


__all__ = ["ROUNDS", "Result", "Timing", "best", "first_clip_s", "hopeless", "measure"]
