"""Measure the speed, the progress reports and the memory of a job for a long video.

python -m bench.tools.long_video [--minutes 60] [--url http://127.0.0.1:8080] [--run-dir .runtime/run]

Needs a running stack on this machine. Makes a 720p film, runs the job of a minute and of the whole film, and samples the
memory (PSS) of every process of the stack twice a second. Writes bench/results/long_video.json.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.settings import recorded as recorded_settings
from app.web.job_events import RETRY_MS
from bench.environment import describe_machine
from bench.fixtures.videos import repeat_film
from bench.processes import pss_mib, sampling
from deploy.stack import processes
from triton_repo.zoo.training.camera_motion.scenes import HELD_OUT_PHOTOGRAPHS, photograph
from triton_repo.zoo.training.camera_motion.timelines import record_moves

RESULTS = Path(__file__).parents[1] / "results" / "long_video.json"
FPS, SIZE = 30, (1280, 720)
MOVES = 6


@contextmanager
def memory_of(run_dir: Path) -> Iterator[dict[str, float]]:
    """Yield the largest PSS in MiB by process name, updated while the block runs."""
    largest: dict[str, float] = defaultdict(float)

    def sample() -> None:
        now: dict[str, float] = defaultdict(float)
        for pid, name in processes.of_stack(run_dir).items():
            now[name] += pss_mib(pid)
        for name, used in now.items():
            largest[name] = max(largest[name], used)

    with sampling(0.5, sample):
        yield largest


def job(client: httpx.Client, video: Path) -> dict[str, Any]:
    """Return the finished job of a video, with the longest seconds without an event and without a new window."""
    with video.open("rb") as file:
        identity = client.post("/v1/jobs", content=file, params={"margin": "0.5"}).raise_for_status().json()["id"]
    events, progress = _Longest(), _Longest()
    previous: tuple[Any, ...] = ()
    for record in events_of(client, identity):
        events.mark()
        current = (record["state"], record["progress"]["windows_done"])
        if current != previous:
            progress.mark()
        previous = current
    finished: dict[str, Any] = client.get(f"/v1/jobs/{identity}").raise_for_status().json()
    return finished | {"silence_s": events.longest_s, "standstill_s": progress.longest_s}


def events_of(client: httpx.Client, identity: str) -> Iterator[dict[str, Any]]:
    """Yield the job's events until its end; reconnect when the stream ends, like a browser."""
    while True:
        name = ""
        with client.stream("GET", f"/v1/jobs/{identity}/events") as stream:
            for line in stream.raise_for_status().iter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield json.loads(value)
                    if name == "end":
                        return
        time.sleep(RETRY_MS / 1000)


class _Longest:
    """Longest time between two marks, in seconds."""

    def __init__(self) -> None:
        self.longest_s, self._before = 0.0, time.monotonic()

    def mark(self) -> None:
        now = time.monotonic()
        self.longest_s, self._before = max(self.longest_s, now - self._before), now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = recorded_settings.current()
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--url", default=f"http://127.0.0.1:{settings.port}")
    parser.add_argument("--run-dir", type=Path, default=settings.run_dir)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, httpx.Client(base_url=arguments.url, timeout=300) as client:
        short, long = Path(folder, "short.mp4"), Path(folder, "long.mp4")
        scenes = [photograph(name) for name in HELD_OUT_PHOTOGRAPHS]
        part, _ = record_moves(scenes, MOVES, FPS, SIZE, np.random.default_rng(60))
        repeat_film(short, part, 60)
        repeat_film(long, part, 60 * arguments.minutes)
        with memory_of(arguments.run_dir) as short_memory:
            job(client, short)
        with memory_of(arguments.run_dir) as long_memory:
            finished = job(client, long)
        size = long.stat().st_size
    report = {
        "machine": describe_machine(),
        "video": {"minutes": arguments.minutes, "size": list(SIZE), "fps": FPS, "mib": round(size / 2**20, 1)},
        "state": finished["state"],
        "windows": finished["progress"]["windows_done"],
        "seconds": round(finished["timing_s"]["running"], 1),
        "longest_without_an_event_s": round(finished["silence_s"], 2),
        "longest_without_a_window_s": round(finished["standstill_s"], 2),
        "memory_mib": {
            name: {"one_minute": round(short_memory[name], 1), "long": round(used, 1)}
            for name, used in sorted(long_memory.items())
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
