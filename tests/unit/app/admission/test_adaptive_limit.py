"""The adaptive limit finds the best concurrency of a simulated machine."""

import random

import pytest

from app.admission.adaptive_limit import PERIOD_S, AdaptiveLimit

SERVICE_S = 0.05


class Machine:
    """A machine that shares `cores` equally among running requests; every worker runs as many as it may."""

    def __init__(self, cores: float, workers: int, least: int = 1, most: int = 64) -> None:
        self.cores, self.now_s, self.done = cores, 1.0, 0
        self.limits = [AdaptiveLimit(least, most) for _ in range(workers)]
        self._at_work: list[list[list[float]]] = [[] for _ in range(workers)]
        self._chance = random.Random(7)

    def work(self, requests: int, service_s: float = SERVICE_S) -> float:
        """Run `count` requests and return their rate per second."""
        began_s, until = self.now_s, self.done + requests
        while self.done < until:
            self._step(service_s / 20, service_s)
        return requests / (self.now_s - began_s)

    def _step(self, step_s: float, service_s: float) -> None:
        everybody = sum(map(len, self._at_work))
        speed = min(1.0, self.cores / everybody) if everybody else 1.0
        for limit, at_work in zip(self.limits, self._at_work, strict=True):
            while len(at_work) < limit.value:
                at_work.append([service_s * max(0.3, self._chance.gauss(1, 0.3)), self.now_s])
            for request in at_work:
                request[0] -= step_s * speed
            for request in [request for request in at_work if request[0] <= 0]:
                limit.record("clip", self.now_s - request[1], len(at_work), self.now_s)
                at_work.remove(request)
                self.done += 1
        self.now_s += step_s

    @property
    def allowed(self) -> int:
        return sum(limit.value for limit in self.limits)


@pytest.mark.parametrize(("cores", "workers"), [(2, 1), (2, 2), (8, 2), (16, 1), (16, 4)])
def test_limit_converges_to_the_capacity(cores: int, workers: int) -> None:
    machine = Machine(cores, workers)
    machine.work(3000)

    per_s = machine.work(2000)

    assert per_s > 0.9 * cores / SERVICE_S
    assert machine.allowed < 4 * cores


def test_limit_follows_the_speed_of_the_machine() -> None:
    machine = Machine(cores=16, workers=1)
    machine.work(3000)
    before = machine.allowed
    machine.cores = 2

    machine.work(300)
    fallen = machine.allowed
    machine.cores = 16
    machine.work(3000)

    assert fallen <= before / 3
    assert machine.allowed >= 0.7 * before


def test_long_overload_does_not_become_the_baseline() -> None:
    machine = Machine(cores=4, workers=2)
    machine.work(round(3 * PERIOD_S * 4 / SERVICE_S / 4), service_s=SERVICE_S * 4)

    assert machine.allowed < 4 * 4


def test_limit_stays_within_its_bounds() -> None:
    limit = AdaptiveLimit(1, 3)
    seen = set()
    for number in range(2000):
        limit.record("clip", 0.05 if number % 400 < 200 else 5.0, running=3, now_s=number)
        seen.add(limit.value)

    assert min(seen) == 1 and max(seen) == 3


def test_requests_of_another_kind_are_not_compared() -> None:
    limit = AdaptiveLimit(1, 8)
    for number in range(2000):
        limit.record(*(("short", 0.01) if number % 2 else ("long", 3.0)), running=8, now_s=number / 10)

    assert limit.value == 8


def test_unused_limit_does_not_grow() -> None:
    limit = AdaptiveLimit(1, 64)
    for number in range(2000):
        limit.record("clip", 0.05, running=1, now_s=number / 100)

    assert limit.value <= 5


def test_invalid_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="between 3 and 2"):
        AdaptiveLimit(3, 2)
