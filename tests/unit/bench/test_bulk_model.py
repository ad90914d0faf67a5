"""The model of a bulk run: each resource limits the rate that it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.bulk.simulation import Cluster, simulate

FREE = Cluster(1e9, 0.0, 1e15, 1e15, 0.0, concurrency=4, part_files=50)


def test_cores_limit_and_nodes_add_up() -> None:
    one, ten = (simulate(FREE, nodes, 1000 * nodes, 1000, [0.01]) for nodes in (1, 10))
    assert (one.per_s, one.limit) == (pytest.approx(100, rel=0.01), "cores")
    assert ten.per_s == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize(
    ("changed", "per_s", "limit"),
    [
        ({"requests_per_s": 300.0}, 300, "bucket"),
        ({"network_bytes_per_s": 200e6}, 200, "network"),
        ({"link_bytes_per_s": 20e6}, 200, "links"),
        ({"head_part_s": 0.5}, 100, "head node"),
        ({"latency_s": 0.19}, 200, "latency"),
    ],
)
def test_tightest_resource_limits(changed: dict[str, float], per_s: float, limit: str) -> None:
    outcome = simulate(replace(FREE, **changed), 10, 10_000, 1e6, [0.01])  # type: ignore[arg-type]
    assert (outcome.per_s, outcome.limit) == (pytest.approx(per_s, rel=0.07), limit)


def test_every_file_is_done_once_and_runs_are_repeatable() -> None:
    first, second = (simulate(FREE, 3, 3000, 1000, [0.01, 0.02, 0.03]) for _ in range(2))
    assert first == second
    assert sum(first.busy.values()) > 0.9
