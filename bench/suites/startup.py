"""From `make up`, everything set up before, until it is ready; and from a baseline's start until it answers a clip.

And whether the first of the clips after a start are answered as quickly as those that follow.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from app.settings import CHECKOUT
from bench.fixtures import networks, servers, videos
from bench.profile import Profile, in_turns
from bench.stats import ratio, spread
from deploy.stack.stack import Stack

AGAINST = ("flask_torch", "litserve_openvino")
UP_S = 240
FIRST = 20  # clips of which the first is held against the one in the middle


def measured(effort: Profile) -> dict[str, Any]:
    clip = videos.reference().path
    labels: dict[str, dict[str, str]] = {}

    ready_s: list[float] = []
    firsts: list[list[float]] = []
    sides = [partial(theirs, name, clip, labels) for name in AGAINST]
    first_answer, *others = in_turns(effort.starts, partial(up, clip, labels, ready_s, firsts), *sides)
    told: dict[str, Any] = {
        "about": "`make up` in a checkout that is set up, and a baseline's start, until the first clip is answered.",
        "ours_s": spread(ready_s).facts(),
        "first": first_clips(firsts),
        "sides": {"clipstack": {"seconds": spread(first_answer).facts()}},
    }
    for name, figures in zip(AGAINST, others, strict=True):
        ratios = ratio(first_answer, figures, [labels["clipstack"], labels[name]]).facts()
        told["sides"][name] = {"seconds": spread(figures).facts(), "ratio": ratios}
    return told


def first_clips(starts: list[list[float]]) -> dict[str, Any]:
    """Of the clips right after each start: milliseconds of the first and the median, and how far they are apart."""
    return {
        "clips": FIRST,
        "first_ms": spread([took[0] for took in starts]).facts(),
        "median_ms": spread([median(took) for took in starts]).facts(),
        "first_over_median": spread([took[0] / median(took) for took in starts]).facts(),
        "slowest_over_median": spread([max(took) / median(took) for took in starts]).facts(),
    }


def up(clip: Path, labels: dict[str, dict[str, str]], ready_s: list[float], firsts: list[list[float]]) -> float:
    """Seconds until the first answer; those until `make up` says ready go into `ready_s`, the clips' into `firsts`."""
    with tempfile.TemporaryDirectory(prefix="clipstack-bench-") as folder:
        Path(folder).chmod(0o755)
        environment = servers.environment(Path(folder, "run"), networks.VIDEO)
        stack = Stack(CHECKOUT, environment)
        try:
            began = time.perf_counter()
            done = subprocess.run(
                ["make", "up"], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=UP_S
            )
            ready_s.append(time.perf_counter() - began)
            if done.returncode:
                raise servers.ServerError(f"make up: {done.stderr[-2000:]}")
            asked, took = time.perf_counter(), list[float]()
            side = servers.ours(stack)
            for _ in range(FIRST):
                labels["clipstack"] = {"clip": side.label(clip)}
                took.append((time.perf_counter() - asked) * 1e3)
                asked = time.perf_counter()
            firsts.append(took)
            return asked - began - sum(took[1:]) / 1e3
        finally:
            stack.down()


def theirs(name: str, clip: Path, labels: dict[str, dict[str, str]]) -> float:
    began = time.perf_counter()
    with servers.baseline(name, settled=False) as side:
        labels[name] = {"clip": side.label(clip)}
        return time.perf_counter() - began


__all__ = ["measured"]
