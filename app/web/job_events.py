"""A job as it goes along, as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from app.errors import JobNotFound, Overloaded
from app.jobs.service import JobService
from app.jobs.storage.store import FINISHED, Job, JobState
from app.web.job_serializers import record_json

LOOK_S = 0.2  # between two looks at the job
TELL_S = 0.7  # a running job is told of this often even when nothing changed: with a look's time under a second
HEARTBEAT_S = 5.0  # a waiting one; a client that has gone is noticed when something is sent
LIFE_S = 25.0  # then the client connects again: a worker that is to end waits 30 s for its requests
RETRY_MS = 500


class EventStreamLimiter:
    """Bound the clients that follow jobs by events, each of which holds a thread: `most`, half of them with one key."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._held: Counter[str] = Counter()

    def hold(self, stream: Iterator[str], owner: str = "") -> Iterator[str]:
        """Return the stream, which holds a place until it ends or is closed; raises Overloaded when none is free."""
        with self._lock:
            if self._held.total() >= self._most or (owner and self._held[owner] >= -(-self._most // 2)):
                raise Overloaded("too many clients follow jobs now; ask for the job itself now and then instead")
            self._held[owner] += 1
        held = self._held_until_end(stream, owner)
        next(held)  # a generator that was never started, as for HEAD, would never come to its `finally`
        return held

    def _held_until_end(self, stream: Iterator[str], owner: str) -> Iterator[str]:
        try:
            yield ""
            yield from stream
        finally:
            with self._lock:
                self._held[owner] -= 1


def events(desk: JobService, job: Job) -> Iterator[str]:
    """`progress` whenever something changed, then `end`; the record as data, without the timeline's windows."""
    yield f"retry: {RETRY_MS}\n\n"
    started = told = time.monotonic()
    before: tuple[Any, ...] | None = None
    version: tuple[int, ...] | None = None
    ending = False
    while not ending:
        ending = time.monotonic() - started >= LIFE_S
        try:
            if (current := _version(job)) is None or current != version:  # a long timeline takes a while to read
                version = current
                asked, progress = desk.read(job)
        except JobNotFound as error:
            yield _event("end", {"id": job.id, "state": "removed", "error": {"code": error.code}})
            return
        place = desk.place(job.id) if progress.state == "queued" else None
        now = (progress.state, place, _mark(job, progress))
        if progress.state in FINISHED:
            yield _event("end", record_json(asked, progress, place))
            return
        silent_s = time.monotonic() - told
        # The last word too: until the client is here again another RETRY_MS pass.
        if now != before or (progress.state == "running" and (silent_s >= TELL_S or ending)):
            before, told = now, time.monotonic()
            yield _event("progress", record_json(asked, progress, place))
        elif silent_s >= HEARTBEAT_S:
            told = time.monotonic()
            yield ": still here\n\n"
        if not ending:
            time.sleep(LOOK_S)


def _version(job: Job) -> tuple[int, ...] | None:
    """Return what changes when the job's state is saved anew; None before the first time, or when it was removed."""
    try:
        status = (job.path / "state.json").stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _mark(job: Job, progress: JobState) -> tuple[Any, ...]:
    """What changes whenever the job's state was saved."""
    return (progress.windows_done, progress.percent, progress.tries, progress.model_version)


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
