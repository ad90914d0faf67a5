"""Rates, the time left, costs, and the estimate from a sample."""

from __future__ import annotations

import pytest

from clipstack_client.bulk.estimate import estimate, sample
from clipstack_client.bulk.journal import Finished
from clipstack_client.bulk.source import Entry
from clipstack_client.bulk.stats import Stats
from clipstack_client.cli.bulk.progress import estimate_table, progress_line


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def finished(seconds: float = 0.5, video_s: float | None = 36.0, error: str | None = None) -> Finished:
    media = None if error else {"duration_s": video_s}
    return Finished(0, {"attempts": 1, "seconds": seconds, "media": media, "error_code": error})


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_rate_is_that_of_the_last_minute(clock: Clock) -> None:
    stats = Stats(1000, clock=clock)
    for _ in range(100):  # one a second, then four
        clock.now += 1
        stats.add(finished())
    for _ in range(400):
        clock.now += 0.25
        stats.add(finished())
    assert stats.per_s == pytest.approx(4, rel=0.05)
    assert stats.eta_s == pytest.approx(500 / 4, rel=0.05)


def test_cost_is_that_of_all_machines(clock: Clock) -> None:
    stats = Stats(10, machines=2, price=1.5, clock=clock)
    assert (stats.cost(), stats.eta_s) == ("", None)
    clock.now += 3600
    for _ in range(10):
        stats.add(finished(video_s=3600))
    assert stats.cost() == "0.3 per hour of video"
    stats.price = None
    assert stats.cost() == "0.2 machine hours per hour of video"


def test_pictures_cost_by_the_thousand(clock: Clock) -> None:
    stats = Stats(10, price=1.0, clock=clock)
    clock.now += 36
    stats.add(finished(video_s=None))
    assert stats.cost() == "10 per 1,000 files"


def test_counts_of_parts_add_up(clock: Clock) -> None:
    part, whole = Stats(3, clock=clock), Stats(10, clock=clock)
    part.resumed = 1
    part.add(finished())
    part.add(finished(error="undecodable"))
    whole.merge(part.counts)
    whole.merge(part.counts)
    assert (whole.done, whole.resumed, whole.remaining, whole.errors["undecodable"]) == (4, 2, 4, 2)


def test_line_has_counts_rate_time_and_cost(clock: Clock) -> None:
    stats = Stats(2000, price=36.0, clock=clock)
    stats.resumed = 1000
    for _ in range(10):
        clock.now += 1
        stats.add(finished())
    stats.errors["undecodable"] += 2
    assert (
        progress_line(stats)
        == "1,010 of 2,000 files (2 with errors) · 1.0 files/s · 16 min 30 s left · 1 per hour of video"
    )


def test_sample_is_spread_and_the_same_each_time() -> None:
    entries = [Entry(f"{index:04}") for index in range(1000)]
    chosen = sample(entries, 50)
    assert chosen == sample(entries, 50) == tuple(sorted(set(chosen)))
    assert len([entry for entry in chosen if entry.file < "0500"]) in range(15, 36)
    assert sample(entries[:3], 50) == tuple(entries[:3])


def test_estimate_scales_the_sample(clock: Clock) -> None:
    stats = Stats(10, clock=clock)
    for seconds in (1, 2, 3, 2, 2, 1, 3, 2, 2, 2):
        stats.add(finished(seconds=seconds))
    clock.now += 5
    entries = [Entry(str(index), 10) for index in range(1000)]
    total_s, spread = estimate(entries, stats)
    assert total_s == 500.0
    assert spread == pytest.approx(0.2, abs=0.03)
    cells = [list(column.cells) for column in estimate_table(entries, stats, total_s, spread).columns]
    assert cells[1][:2] == ["1,000, 10 kB", "10 files, 2.0 files/s"]
    assert cells[1][3] == "10 h 0 min"
