"""How long lists, new jobs and the service's chores take with very many kept jobs.

python -m bench.tools.many_jobs [--jobs 100000]       makes them in a temporary folder, which is removed at the end
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from app.jobs.clock import Clock
from app.jobs.service import JobService
from app.jobs.stats import JobStats
from app.jobs.storage.reconcile import Reconciler
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.retention import RetentionLimits, remove_expired
from app.jobs.storage.store import JobStore, now
from app.media.types import Source
from app.settings import Settings
from app.web.job_serializers import record_json

ROUNDS = 100
OWNERS = 20
TIMELINE = {
    "duration_s": 4.0, "complete_to_s": 4.0, "window_s": 1.0, "hop_s": 0.25, "margin": 0.5, "labels": ["a", "b"],
    "segments": [{"start_s": 0.0, "end_s": 4.0, "label": "a", "score": 0.9}], "cuts_s": [], "pictures_s": [0.5],
}  # fmt: skip


def make_jobs(folder: Path, count: int) -> None:
    """Write the folders of `count` finished jobs, as the service leaves them."""
    for number in range(count):
        job = folder / f"{number:024x}"
        (job / "pictures").mkdir(parents=True)
        spec = JobSpec(job.name, now(), "clip.mp4", 1000, "m", None, None, 0.5, 5, f"owner{number % OWNERS}")
        (job / "job.json").write_text(json.dumps(asdict(spec)))
        state = JobState("done", now(), now(), "1", 100.0, 13, 13, timeline=TIMELINE)
        (job / "state.json").write_text(json.dumps(asdict(state)))
        (job / "lock").touch()
        for name in ("source", "journal", "pictures/0.jpg"):
            (job / name).write_bytes(bytes(1000))


def timed(what: str, work: Callable[[], object], rounds: int = 1) -> None:
    """Print how long `work` takes: the median and the maximum of several rounds."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    if rounds == 1:
        print(f"{what}: {seconds[0]:.2f} s")
    else:
        print(f"{what}: median {statistics.median(seconds) * 1e3:.1f} ms, longest {max(seconds) * 1e3:.1f} ms")


def main() -> None:
    """Make the jobs and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    count = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="many-jobs-") as name:
        folder, upload = Path(name) / "data" / "jobs", Path(name) / "upload"
        upload.write_bytes(bytes(1000))
        timed(f"{count} folders made", lambda: make_jobs(folder, count))
        settings = replace(Settings.from_environment({}), data_dir=folder.parent, max_jobs=100_000, job_gb=1 << 20)
        service = JobService(settings)
        service.start()
        with closing(service.folder.index):
            measure(service, Source(str(upload), 0, 1000))
        service.stop()


def measure(service: JobService, source: Source) -> None:
    """Print the times of the operations that depend on the number of jobs."""
    folder: JobStore = service.folder
    spec = JobSpec("", "", "clip.mp4", 1000, "m", None, None, 0.5, 5, "owner0")
    timed("index made from the folders", folder.index.counts)
    print(f"its size: {folder.index.path.stat().st_size >> 20} MiB; jobs take {folder.index.bytes() >> 20} MiB")
    for owner in (None, "owner7"):
        timed(
            f"list of 50, {'all owners' if owner is None else 'one owner'}",
            lambda owner=owner: [record_json(*row, brief=True) for row in service.newest(50, owner)],  # type: ignore[misc]
            ROUNDS,
        )
    timed("new job", lambda: service.accept(spec, source, None), ROUNDS)
    timed("new job with an Idempotency-Key", lambda: service.accept(spec, source, str(time.monotonic())), ROUNDS)
    stats = JobStats(folder)
    timed("metrics of jobs", stats.count, ROUNDS)
    reconciler, clock = Reconciler(folder), Clock(folder.index, 7)
    timed("reconciliation after a start", reconciler.run)
    timed("reconciliation without a change", reconciler.run)
    timed("tidying", lambda: remove_expired(folder, RetentionLimits(7, 1 << 20, 1 << 50), clock))


if __name__ == "__main__":
    main()
