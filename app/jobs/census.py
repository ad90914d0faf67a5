"""How many jobs there are in each state, asked often: only what changed since is read again."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import NamedTuple, get_args

from app.jobs.folder import Folder, State


class Count(NamedTuple):
    """Jobs by state; ages in seconds of the job that waits longest, and of the one at work that is silent longest."""

    states: dict[str, int]
    oldest_waiting_s: float
    longest_still_s: float


class Census:
    """Of the jobs of a folder, which need not be there yet; from any thread."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, str]] = {}  # by job: when its state was written, and what it was
        self._lock = threading.Lock()

    def count(self) -> Count:
        """What there is now."""
        with self._lock, suppress(FileNotFoundError):
            return self._count()
        return Count(dict.fromkeys(get_args(State), 0), 0.0, 0.0)

    def _count(self) -> Count:
        known, now = {}, time.time()
        states, waiting_s, still_s = dict.fromkeys(get_args(State), 0), 0.0, 0.0
        for job in self._folder.jobs():
            with suppress(FileNotFoundError):
                written = _written(job.path)
                told = self._known.get(job.id)
                state = told[1] if told and told[0] == written else job.progress().state
                known[job.id] = (written, state)
                states[state] += 1
                age_s = max(0.0, now - written / 1e9)
                if state == "queued":
                    waiting_s = max(waiting_s, age_s)
                elif state == "running":
                    still_s = max(still_s, age_s)
        self._known = known
        return Count(states, waiting_s, still_s)


def _written(path: os.PathLike[str]) -> int:
    """When its state was written, nanoseconds since the epoch; when it was handed in, where it has none yet."""
    with suppress(FileNotFoundError):
        return os.stat(os.path.join(path, "state.json")).st_mtime_ns
    return os.stat(os.path.join(path, "job.json")).st_mtime_ns
