"""Processes that store feedback are killed: every clip is complete, and the index equals the folders."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from app.feedback.index import Filter
from app.feedback.records import Answer, ClipFacts
from app.feedback.store import FeedbackLimits, FeedbackStore
from app.jobs.storage import new_job
from app.media.types import Source
from tests.support.stacks import until

LIMITS = FeedbackLimits(corrections=100_000, unsure=0, bytes=1 << 30)
KILLS = 8


def keep_on(folder: Path, number: int) -> None:
    """Store corrections of new files, and remove every third one, until killed."""
    store, facts = FeedbackStore(folder, LIMITS), ClipFacts("", "x.png", "image")
    path = folder / f"upload-{number}"
    for count in range(100_000):
        path.unlink(missing_ok=True)
        path.write_bytes(f"{number} {count}".encode())
        _, (entry,) = store.put(Source(str(path), 0, path.stat().st_size), facts, [Answer("m", labels=(f"{count}",))])
        if count % 3 == 0:
            store.remove(entry["id"], None)


def test_killed_writers_leave_whole_clips_and_a_true_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = multiprocessing.get_context("spawn")
    clips = tmp_path / "feedback" / "clips"
    for number in range(KILLS):
        before = len(list(clips.iterdir())) if clips.exists() else 0
        writers = [spawn.Process(target=keep_on, args=(tmp_path, 2 * number + half)) for half in range(2)]
        for writer in writers:
            writer.start()
        until(lambda before=before: clips.exists() and len(list(clips.iterdir())) > before + 3, 60)
        time.sleep(0.003 * number)  # at another point each time
        for writer in writers:
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
            writer.close()
    store = FeedbackStore(tmp_path, LIMITS)
    listed = {entry["id"] for _, entry in store.page(Filter(), 100_000)[0]}
    kept = list(store.folders.clips())
    assert listed == {entry["id"] for clip in kept for entry in clip.entries}
    assert all(store.folders.source(clip.id).stat().st_size == clip.bytes for clip in kept)
    assert not (tmp_path / "damaged").exists()
    monkeypatch.setattr(new_job, "LEFTOVER_AGE_S", 0.0)
    store.clean_up(None)
    assert {path.name for path in clips.iterdir()} == {clip.id for clip in kept}
    store.close()
