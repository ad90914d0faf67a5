"""Latency of one client with a small and a large clip, by stage."""

from __future__ import annotations

import time
from typing import Any

from bench.fixtures import servers, videos
from bench.fixtures.servers import Service
from bench.fixtures.videos import Film
from bench.profile import Profile
from bench.stats import spread
from bench.suites.throughput import row

STAGES = ("receive", "queue", "probe", "decode", "infer", "answer")


def measured(effort: Profile) -> dict[str, Any]:
    """Measure both clips and return the figures."""
    clips = {"small": videos.reference(), "large": videos.large()}
    result: dict[str, Any] = {"clips": {name: film.words for name, film in clips.items()}, "against": {}}
    result["bytes"] = {name: film.path.stat().st_size for name, film in clips.items()}
    with servers.stack() as running:
        ours = servers.ours(running)
        result["stages"] = {name: stages(ours, film, effort.repeats) for name, film in clips.items()}
        with servers.baseline(servers.STRONGEST) as theirs:
            for name, side in servers.comparisons(running, servers.STRONGEST).items():
                result["against"][name] = {}
                for which, film in clips.items():
                    labels = [{which: service.label(film.path)} for service in (side, theirs)]
                    result["against"][name][which] = row(side, theirs, film.path, 1, effort, labels)
    return result


def stages(ours: Service, film: Film, count: int) -> dict[str, Any]:
    """Return the milliseconds of each stage from the answers.

    `outside` is nginx, the form, Flask and the connection.
    """
    rows: list[dict[str, float]] = []
    for _ in range(count):
        began = time.perf_counter()
        timing = ours.ask(film.path)["timing_ms"]
        whole_ms = (time.perf_counter() - began) * 1e3
        by_stage = {name: timing.get(name, 0.0) for name in STAGES}
        rows.append(
            by_stage
            | {
                "rest": timing["total"] - sum(by_stage.values()),
                "outside": whole_ms - timing["total"],
                "whole": whole_ms,
            }
        )
    return {name: spread([row_ms[name] for row_ms in rows]).facts() for name in rows[0]}


__all__ = ["measured", "stages"]
