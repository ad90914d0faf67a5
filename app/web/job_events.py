"""Server-sent events that report a job's progress.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from app.auth.guard import held_until_sent
from app.errors import JobNotFound, Overloaded
from app.jobs.service import JobService
from app.jobs.storage.records import FINISHED
from app.jobs.storage.store import Job
from app.web.job_serializers import record_json

POLL_INTERVAL_S = 0.2  # polling interval
EVENT_INTERVAL_S = 0.7  # event interval of a running job without changes; POLL_INTERVAL_S + EVENT_INTERVAL_S < 1 s
HEARTBEAT_S = 5.0  # interval of comments for a waiting job; only a write notices that the client has gone
MAX_STREAM_S = 25.0  # the client then reconnects; a stopping worker waits only 30 s for its requests
RETRY_MS = 500


class EventStreamLimiter:
    """A limit on concurrent event streams, each of which occupies a thread; one key may have half, rounded up."""

    def __init__(self, maximum: int) -> None:
        self._max_streams, self._lock = maximum, threading.Lock()
        self._streams: Counter[str] = Counter()

    def hold(self, stream: Iterator[str], owner: str = "") -> Iterator[str]:
        """Return `stream`, counted until it ends or is closed; raises Overloaded if worker or owner has too many."""
        with self._lock:
            is_owner_full = owner and self._streams[owner] >= -(-self._max_streams // 2)
            if self._streams.total() >= self._max_streams or is_owner_full:
                raise Overloaded("too many clients follow jobs now: poll the job itself instead")
            self._streams[owner] += 1
        held = ExitStack()
        held.callback(self._release, owner)
        return held_until_sent(stream, held)

    def _release(self, owner: str) -> None:
        with self._lock:
            self._streams[owner] -= 1


def events(service: JobService, job: Job) -> Iterator[str]:
    """Yield a `progress` event on every change and every EVENT_INTERVAL_S of a running job, then one `end` event.

    The data is the job's record, without the timeline's windows. After MAX_STREAM_S the client must reconnect.
    """
    yield f"retry: {RETRY_MS}\n\n"
    started = sent = time.monotonic()
    last: tuple[Any, ...] | None = None
    version: tuple[int, ...] | None = None
    ending = False
    while not ending:
        ending = time.monotonic() - started >= MAX_STREAM_S
        try:
            # Skip an unchanged record: a long timeline is slow to read.
            if (current := _version(job)) is None or current != version:
                version = current
                spec, state = service.read(job)
        except JobNotFound as error:
            yield _event("end", {"id": job.id, "state": "removed", "error": {"code": error.code}})
            return
        position = service.queue_position(job.id) if state.state == "queued" else None
        now = (state.state, position, state.windows_done, state.percent, state.tries, state.model_version)
        if state.state in FINISHED:
            yield _event("end", record_json(spec, state, position))
            return
        silent_s = time.monotonic() - sent
        # Send a last event before closing: the client reconnects only after RETRY_MS.
        if now != last or (state.state == "running" and (silent_s >= EVENT_INTERVAL_S or ending)):
            last, sent = now, time.monotonic()
            yield _event("progress", record_json(spec, state, position))
        elif silent_s >= HEARTBEAT_S:
            sent = time.monotonic()
            yield ": still here\n\n"
        if not ending:
            time.sleep(POLL_INTERVAL_S)


def _version(job: Job) -> tuple[int, ...] | None:
    """Return a value that changes when the job's state is saved; None before the first save or after removal."""
    try:
        status = (job.path / "state.json").stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
