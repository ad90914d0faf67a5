"""Job queue: huey on a SQLite file or on Redis. It carries job ids only; the jobs are folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import cast

from huey import RedisHuey
from huey.api import Huey
from huey.registry import Message
from huey.serializer import Serializer

from app.jobs.sqlite_storage import RecoveringSqliteStorage

NAME = "clipstack"
TASK = "analyse"
_NAME_OF_TASK = f"{__name__}.{TASK}"  # the name that huey gives it
NO_JOB = ""
REDIS_SILENCE_S = 5.0


class _Json(Serializer):  # type: ignore[misc]
    """Serializer that writes JSON instead of pickles.

    Write access to a shared Redis must not allow running code here. A message that is damaged, or that another program
    wrote, becomes a task for no job.
    """

    def _serialize(self, data: Message) -> bytes:
        eta = data.eta and data.eta.isoformat()
        return json.dumps([data.id, data.name, eta, list(data.args)]).encode()

    def _deserialize(self, data: bytes) -> Message:
        try:
            identity, _, eta, (job,) = json.loads(bytes(data))
            at = eta and datetime.fromisoformat(eta)
            if not (isinstance(identity, str) and isinstance(job, str)):
                raise ValueError("its ids are no strings")
        except (ValueError, TypeError, RecursionError):
            identity, at, job = "damaged", None, NO_JOB
        return Message(identity, _NAME_OF_TASK, at, retries=0, retry_delay=0, args=(job,), kwargs={})


class Queue:
    """Queue at `place`: a `redis://` address, or empty for a SQLite file in `folder`."""

    def __init__(self, place: str, folder: Path) -> None:
        self.huey = _huey(place, folder)
        self._work: Callable[[str], None] | None = None
        self._task = self.huey.task(name=TASK)(self._do)

    def works_with(self, work: Callable[[str], None]) -> None:
        """Set the function that a worker calls with each job id; only worker processes need it."""
        self._work = work

    def _do(self, identity: str) -> None:
        if self._work is not None:
            self._work(identity)

    def put(self, identity: str, *, delay_s: float = 0.0) -> None:
        """Enqueue a job id; a worker takes it after at least `delay_s` seconds."""
        if delay_s:
            self._task.schedule(args=(identity,), delay=delay_s)
        else:
            self._task(identity)

    def waiting(self) -> list[str]:
        """Return the ids of the waiting jobs, in the order in which workers take them."""
        return [task.args[0] for task in [*self.huey.pending(), *self.huey.scheduled()] if task.args[0] != NO_JOB]

    def clear(self) -> None:
        """Remove all entries; recovery rebuilds the queue from the job folders."""
        self.huey.flush()

    def close(self) -> None:
        """Close the connection to the queue."""
        self.huey.storage.close()


def _huey(place: str, folder: Path) -> Huey:
    shared = {"name": NAME, "results": False, "serializer": _Json()}
    if place:
        timeouts = f"socket_timeout={REDIS_SILENCE_S}&socket_connect_timeout={REDIS_SILENCE_S}"
        return cast(Huey, RedisHuey(url=f"{place}{'&' if '?' in place else '?'}{timeouts}", **shared))
    # `fsync` sets synchronous=FULL: every commit reaches the disk
    file = str(folder / "queue.db")
    return Huey(storage_class=RecoveringSqliteStorage, filename=file, fsync=True, strict_fifo=True, **shared)
