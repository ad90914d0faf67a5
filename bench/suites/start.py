"""Time from `make up` until the stack is ready, and from a baseline's start until it answers a clip.

The suite also compares the first clips after a start with those that follow.
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
FIRST = 20  # clips after a start; the first is compared with their median


def measured(effort: Profile) -> dict[str, Any]:
    """Measure all starts and return the figures."""
    clip = videos.reference().path
    labels: dict[str, dict[str, str]] = {}

    ready_s: list[float] = []
    firsts: list[list[float]] = []
    sides = [partial(theirs, name, clip, labels) for name in AGAINST]
    first_answer, *others = in_turns(effort.starts, partial(up, clip, labels, ready_s, firsts), *sides)
    result: dict[str, Any] = {
        "about": "`make up` in a checkout that is set up, and a baseline's start, until the first clip is answered.",
        "ours_s": spread(ready_s).facts(),
        "first": first_clips(firsts),
        "sides": {"clipstack": {"seconds": spread(first_answer).facts()}},
    }
    for name, figures in zip(AGAINST, others, strict=True):
        ratios = ratio(first_answer, figures, [labels["clipstack"], labels[name]]).facts()
        result["sides"][name] = {"seconds": spread(figures).facts(), "ratio": ratios}
    return result


def first_clips(starts: list[list[float]]) -> dict[str, Any]:
    """Return the milliseconds of the first clip and the median after each start, and their ratio."""
    return {
        "clips": FIRST,
        "first_ms": spread([took[0] for took in starts]).facts(),
        "median_ms": spread([median(took) for took in starts]).facts(),
        "first_over_median": spread([took[0] / median(took) for took in starts]).facts(),
        "slowest_over_median": spread([max(took) / median(took) for took in starts]).facts(),
    }


def up(clip: Path, labels: dict[str, dict[str, str]], ready_s: list[float], firsts: list[list[float]]) -> float:
    """Start the stack and return the seconds until its first answer.

    The seconds until `make up` returns are appended to `ready_s`, those of the clips to `firsts`.
    """
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
            clip_started, clip_ms = time.perf_counter(), list[float]()
            side = servers.ours(stack)
            for _ in range(FIRST):
                labels["clipstack"] = {"clip": side.label(clip)}
                clip_ms.append((time.perf_counter() - clip_started) * 1e3)
                clip_started = time.perf_counter()
            firsts.append(clip_ms)
            return clip_started - began - sum(clip_ms[1:]) / 1e3
        finally:
            stack.down()


def theirs(name: str, clip: Path, labels: dict[str, dict[str, str]]) -> float:
    """Start a baseline and return the seconds until its first answer."""
    began = time.perf_counter()
    with servers.baseline(name, settled=False) as side:
        labels[name] = {"clip": side.label(clip)}
        return time.perf_counter() - began


__all__ = ["measured"]
