"""Timing of a model's engines in turns, and choice of the best one."""

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
PAUSE_S = 0.05  # until the previous engine's threads stop spinning
# Skip an engine that is this many times slower than the fastest if its clip takes this part of the time.
HOPELESS, TOO_LONG = 5.0, 0.05
# Another engine must be this much faster to replace the present one: less may be chance.
WORTH_IT = 1.05


@dataclass
class Timing:
    """Timing of one engine: seconds of each lone clip, and clips per second by batch size, one figure a round."""

    lone_s: list[float] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=dict)

    def p(self, percent: float) -> float:
        """Return a percentile of the lone clips' times, in milliseconds."""
        return float(np.percentile(self.lone_s, percent)) * 1e3

    def rate(self, batch: int) -> float:
        """Return the clips per second in batches of this size, the median of the rounds."""
        return median(self.rates[batch])

    @property
    def spread(self) -> float:
        """Return half the range of the rounds as a part of their median, for the batch size that varies most."""
        return max((max(rates) - min(rates)) / 2 / median(rates) for rates in self.rates.values())


@dataclass(frozen=True)
class Result:
    """Timing and accuracy of one engine in one precision; `row` is None if it was too slow to compare."""

    variant: Variant
    timing: Timing
    row: AccuracyRow | None

    @property
    def good(self) -> bool:
        """Return whether the accuracy was measured and is within bounds."""
        return self.row is not None and self.row.good


def clip_s(engine: Engine, clip: Clips) -> float:
    """Return the seconds of one clip alone, after a first one that includes preparations."""
    engine.infer(clip)
    start = time.perf_counter()
    engine.infer(clip)
    return time.perf_counter() - start


def hopeless(lone_s: Mapping[Variant, float], seconds: float) -> set[Variant]:
    """Return the variants that would take all the time and could not be the best."""
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
    """Time warm engines in ROUNDS rounds, each engine in turn.

    Batch `sizes` begin with 1; `clips` are as many as the largest. A size or round that exceeds an engine's share of
    `seconds` is left out.
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
    """Return the fastest result with good accuracy, or None; the present one stays unless another is clearly faster.

    Speed weighs the time of a lone clip and the rate in the largest batch that all were measured with equally.
    """
    good = [result for result in results if result.good]
    if not good:
        return None
    batch = max(set.intersection(*(set(result.timing.rates) for result in good)))

    def speed(result: Result) -> float:
        return math.sqrt(result.timing.rate(batch) / result.timing.p(50))

    fastest = max(good, key=speed)
    current = next((result for result in good if result.variant == present), fastest)
    return fastest if speed(fastest) > WORTH_IT * speed(current) else current
