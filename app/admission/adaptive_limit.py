"""Adaptive concurrency limit, controlled by the latency of requests relative to their latency without load.

With N running requests and capacity for K, each takes about N/K times as long as alone. The limit rises by one while
requests take less than TOLERANCE times their baseline and falls by a factor when they take longer. This is AIMD, the
rule by which TCP finds the capacity of a path. Above the limit, more concurrency only makes requests wait longer.

The baseline is measured again every PERIOD_S, with the limit briefly at its minimum. Otherwise a long overload would
become the baseline. All workers measure at the same time, because they share the machine.

References: Netflix's concurrency-limits (AIMD, Vegas); the minRTT of Envoy's adaptive concurrency filter.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from statistics import median

TOLERANCE = 2.0
DECREASE = 0.8
SAMPLES = 8  # minimum for one decision and for the baseline of a kind; fewer are noise
WEIGHT = 0.1  # of one sample in the mean of its kind; the minimum of single samples would be the minimum of the noise
PERIOD_S = 300.0
MAX_KINDS = 256
MIN_UNDER_LOAD = 3
START = 4


@dataclass(slots=True)
class _Kind:
    """Latency statistics of one kind of request; `least_s`, the lowest mean, is the baseline."""

    mean_s: float
    least_s: float
    count: int = 1


class AdaptiveLimit:
    """Limit on concurrent requests, between `minimum` and `maximum`. Not thread-safe."""

    def __init__(self, minimum: int, maximum: int) -> None:
        if not 1 <= minimum <= maximum:
            raise ValueError(f"no limit can be between {minimum} and {maximum}")
        self._minimum, self._maximum = minimum, maximum
        self._value = float(minimum)
        self._resume_value = float(
            min(maximum, max(minimum, START))
        )  # limit to return to once the baseline is known; 0: none
        self._period, self._since_s = -1, -math.inf
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()
        self._ratios: list[float] = []
        self._used = False

    @property
    def value(self) -> int:
        """The current limit."""
        return int(self._value)

    def record(self, kind: Hashable, seconds: float, running: int, now_s: float) -> None:
        """Record the duration of a finished request and adjust the limit.

        Requests of one `kind` have comparable durations; `running` ran when it ended, itself included. `now_s` is
        `time.monotonic()`, the same for all workers, so that their periods coincide.
        """
        if (period := int(now_s // PERIOD_S)) != self._period:
            self._start_period(period, now_s)
        if now_s - seconds < self._since_s:
            return  # it started before the limit was lowered to measure the baseline
        ratio = self._ratio(kind, seconds)
        if ratio is None:
            return
        self._ratios.append(ratio)
        self._used = self._used or running >= self.value
        if len(self._ratios) >= max(SAMPLES, 2 * self.value):
            self._decide(median(self._ratios))
            self._ratios, self._used = [], False

    def _start_period(self, period: int, now_s: float) -> None:
        if self._period >= 0:
            self._since_s = now_s
        self._resume_value = max(self._resume_value, self._value)
        self._period, self._value = period, float(self._minimum)
        self._kinds.clear()
        self._ratios, self._used = [], False

    def _ratio(self, kind: Hashable, seconds: float) -> float | None:
        """Return the duration divided by the baseline of its kind; None while the baseline has too few samples."""
        stats = self._kinds.pop(kind, None)
        if stats is None:
            stats = _Kind(seconds, seconds)
        else:
            stats.count += 1
            stats.mean_s += max(WEIGHT, 1 / stats.count) * (seconds - stats.mean_s)
            stats.least_s = stats.mean_s if stats.count <= SAMPLES else min(stats.least_s, stats.mean_s)
        self._kinds[kind] = stats
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        if stats.count < SAMPLES:
            return None
        if self._resume_value:
            self._value, self._resume_value = self._resume_value, 0.0
        return seconds / max(1e-6, stats.least_s)

    def _decide(self, ratio: float) -> None:
        if ratio > TOLERANCE:
            # The cause may be another program: a limit below MIN_UNDER_LOAD would then only lower the throughput
            floor = min(self._maximum, max(self._minimum, MIN_UNDER_LOAD))
            self._value = max(floor, self._value * max(DECREASE, TOLERANCE / ratio))
        elif self._used:  # a limit that was never reached gives no evidence for a higher one
            self._value = min(self._maximum, self._value + 1)
