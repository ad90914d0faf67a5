"""Folders of very many finished jobs, as the service leaves them."""

import json
from dataclasses import asdict
from pathlib import Path

from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import now

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
