"""Time from `make up` until the stack is ready, and until it and LitServe, started alike, answer a first clip.

The suite also compares the first clips after a start with those that follow.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from app.settings import CHECKOUT
from bench.fixtures import networks, servers, videos
from bench.fixtures.service import ServerError, read_answer
from bench.profile import Profile, in_turns
from bench.stats import compare, spread
from deploy.stack.stack import Stack

UP_S = 240
FIRST = 20  # clips after a start; the first is compared with their median


class Start(NamedTuple):
    """One start: seconds until the first answer and its label; of ours also until ready, and the first clips' times."""

    answered_s: float
    label: str
    ready_s: float = 0.0
    clips_s: tuple[float, ...] = ()


def measure(profile: Profile) -> dict[str, Any]:
    """Measure all starts and return the figures."""
    clip = videos.reference().path
    ours, theirs = in_turns(profile.starts, lambda: start_ours(clip), lambda: start_theirs(clip))
    labels = [{"clip": starts[0].label} for starts in (ours, theirs)]
    first = [start.clips_s[0] / median(start.clips_s) for start in ours]
    slowest = [max(start.clips_s) / median(start.clips_s) for start in ours]
    return {
        "about": "Seconds of `make up` in a checkout that is set up, and of LitServe's start, until the first answer.",
        "first_answer_s": compare([start.answered_s for start in ours], [start.answered_s for start in theirs], labels),
        "ready_s": spread([start.ready_s for start in ours]).as_dict(),
        "first": {
            "clips": FIRST,
            "first_over_median": spread(first).as_dict(),
            "slowest_over_median": spread(slowest).as_dict(),
        },
    }


def start_ours(clip: Path) -> Start:
    """Start the stack by `make up`, send the first clips, and stop it."""
    began = time.perf_counter()
    with _made_up() as stack:
        ready_s = time.perf_counter() - began
        side, clips_s = servers.ours(stack), list[float]()
        for _ in range(FIRST):
            sent = time.perf_counter()
            label = read_answer(side.ask(clip)).label
            clips_s.append(time.perf_counter() - sent)
        return Start(ready_s + clips_s[0], label, ready_s, tuple(clips_s))


@contextmanager
def _made_up() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="clipstack-bench-") as folder:
        Path(folder).chmod(0o755)
        environment = servers.environment(Path(folder, "run"), networks.VIDEO)
        stack = Stack(CHECKOUT, environment)
        try:
            done = subprocess.run(
                ["make", "up"], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=UP_S
            )
            if done.returncode:
                raise ServerError(f"make up: {done.stderr[-2000:]}")
            yield stack
        finally:
            stack.down()


def start_theirs(clip: Path) -> Start:
    """Start LitServe, send one clip, and stop it."""
    began = time.perf_counter()
    with servers.baseline(servers.STRONGEST, settled=False) as side:
        label = read_answer(side.ask(clip)).label
        return Start(time.perf_counter() - began, label)
