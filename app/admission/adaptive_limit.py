"""How much at the same time is best: found by what requests take, compared to what the same takes when there is room.

With N requests at work and room for K, each takes about N/K times as long as alone. So the limit rises by one while
requests take less than TOLERANCE times their least, and falls by a part when they take longer: AIMD, as TCP finds the
capacity of a path. It settles where nothing more is gained: beyond it more at work means only longer waits.

What a request takes alone is measured anew every PERIOD_S, with the limit at its least for a moment: otherwise a long
overload would pass for the usual. All workers do that at the same time, because they share the machine.

References: Netflix's concurrency-limits (AIMD, Vegas); the minRTT of Envoy's adaptive concurrency filter.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from statistics import median

TOLERANCE = 2.0
FALL = 0.8
SAMPLES = 8  # for one decision, or for a kind to be known; fewer are chance
WEIGHT = 0.1  # of one sample in the mean of its kind: the least of single samples would be the least of all noise
PERIOD_S = 300.0
MOST_KINDS = 256
FLOOR = 3
START = 4


@dataclass(slots=True)
class _Kind:
    mean_s: float
    least_s: float
    count: int = 1


class AdaptiveLimit:
    """The number of requests to have at work, from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        if not 1 <= least <= most:
            raise ValueError(f"no limit can be between {least} and {most}")
        self._least, self._most = least, most
        self._value = float(least)
        self._then = float(min(most, max(least, START)))  # when it is known what requests take alone
        self._period, self._since_s = -1, -math.inf
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()
        self._ratios: list[float] = []
        self._used = False

    @property
    def value(self) -> int:
        return int(self._value)

    def took(self, kind: Hashable, seconds: float, at_work: int, now_s: float) -> None:
        """A request of `kind` took so long; `at_work` were when it ended, itself included.

        `now_s` is on the clock of `time.monotonic`: the machine's, so that all workers begin a period together.
        """
        if (period := int(now_s // PERIOD_S)) != self._period:
            self._measure_anew(period, now_s)
        if now_s - seconds < self._since_s:
            return  # it began among more than may be at work now
        ratio = self._ratio(kind, seconds)
        if ratio is None:
            return
        self._ratios.append(ratio)
        self._used = self._used or at_work >= self.value
        if len(self._ratios) >= max(SAMPLES, 2 * self.value):
            self._decide(median(self._ratios))
            self._ratios, self._used = [], False

    def _measure_anew(self, period: int, now_s: float) -> None:
        if self._period >= 0:
            self._since_s = now_s
        self._then = max(self._then, self._value)
        self._period, self._value = period, float(self._least)
        self._kinds.clear()
        self._ratios, self._used = [], False

    def _ratio(self, kind: Hashable, seconds: float) -> float | None:
        """How many times its least a request of this kind took; None while that is not known."""
        known = self._kinds.pop(kind, None)
        if known is None:
            known = _Kind(seconds, seconds)
        else:
            known.count += 1
            known.mean_s += max(WEIGHT, 1 / known.count) * (seconds - known.mean_s)
            known.least_s = known.mean_s if known.count <= SAMPLES else min(known.least_s, known.mean_s)
        self._kinds[kind] = known
        if len(self._kinds) > MOST_KINDS:
            self._kinds.popitem(last=False)
        if known.count < SAMPLES:
            return None
        if self._then:
            self._value, self._then = self._then, 0.0
        return seconds / max(1e-6, known.least_s)

    def _decide(self, ratio: float) -> None:
        if ratio > TOLERANCE:
            # What makes them slow may be somebody else, a job or another program: then fewer would only be done less
            floor = min(self._most, max(self._least, FLOOR))
            self._value = max(floor, self._value * max(FALL, TOLERANCE / ratio))
        elif self._used:  # what was never reached says nothing about what lies beyond
            self._value = min(self._most, self._value + 1)
