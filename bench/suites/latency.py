"""How long does one client wait for one clip, small and large, and where does each millisecond go?"""

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
    clips = {"small": videos.reference(), "large": videos.large()}
    told: dict[str, Any] = {"clips": {name: film.words for name, film in clips.items()}, "against": {}}
    told["bytes"] = {name: film.path.stat().st_size for name, film in clips.items()}
    with servers.stack() as running:
        ours = servers.ours(running)
        told["stages"] = {name: stages(ours, film, effort.repeats) for name, film in clips.items()}
        with servers.baseline(servers.STRONGEST) as theirs:
            for name, side in servers.comparisons(running, servers.STRONGEST).items():
                told["against"][name] = {}
                for which, film in clips.items():
                    labels = [{which: each.label(film.path)} for each in (side, theirs)]
                    told["against"][name][which] = row(side, theirs, film.path, 1, effort, labels)
    return told


def stages(ours: Service, film: Film, count: int) -> dict[str, Any]:
    """Milliseconds of every stage as the answers tell them; `outside` is nginx, the form, Flask and the connection."""
    rows: list[dict[str, float]] = []
    for _ in range(count):
        began = time.perf_counter()
        told = ours.ask(film.path)["timing_ms"]
        whole = (time.perf_counter() - began) * 1e3
        named = {name: told.get(name, 0.0) for name in STAGES}
        rows.append(
            named | {"rest": told["total"] - sum(named.values()), "outside": whole - told["total"], "whole": whole}
        )
    return {name: spread([each[name] for each in rows]).facts() for name in rows[0]}


__all__ = ["measured", "stages"]
