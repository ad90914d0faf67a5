"""Job queue: huey on a SQLite file or on Redis. It carries job ids only; the jobs are folders."""

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
from app.nodes.ids import on_node

NAME = "clipstack"
TASK = "analyse"
_TASK_NAME = f"{__name__}.{TASK}"  # the name that huey gives it
NO_JOB = ""
REDIS_TIMEOUT_S = 5.0


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
            message_id, _, eta, (job,) = json.loads(bytes(data))
            run_at = eta and datetime.fromisoformat(eta)
            if not (isinstance(message_id, str) and isinstance(job, str)):
                raise ValueError("its ids are not strings")
        except (ValueError, TypeError, RecursionError):
            message_id, run_at, job = "damaged", None, NO_JOB
        return Message(message_id, _TASK_NAME, run_at, retries=0, retry_delay=0, args=(job,), kwargs={})


class Queue:
    """Queue of a node at `url`: a `redis://` address, or empty for a SQLite file in `folder`."""

    def __init__(self, url: str, folder: Path, node: str = "") -> None:
        self.huey = _huey(url, folder, on_node(node, NAME) if url else NAME)
        self._handler: Callable[[str], None] | None = None
        self._task = self.huey.task(name=TASK)(self._run)

    def set_handler(self, handler: Callable[[str], None]) -> None:
        """Set the function that a worker calls with each job id; only worker processes need it."""
        self._handler = handler

    def _run(self, job_id: str) -> None:
        if self._handler is not None:
            self._handler(job_id)

    def put(self, job_id: str, *, delay_s: float = 0.0) -> None:
        """Enqueue a job id; a worker takes it after at least `delay_s` seconds."""
        if delay_s:
            self._task.schedule(args=(job_id,), delay=delay_s)
        else:
            self._task(job_id)

    def waiting(self) -> list[str]:
        """Return the ids of the waiting jobs, in the order in which workers take them."""
        return [task.args[0] for task in [*self.huey.pending(), *self.huey.scheduled()] if task.args[0] != NO_JOB]

    def clear(self) -> None:
        """Remove all entries; recovery rebuilds the queue from the job folders."""
        self.huey.flush()

    def close(self) -> None:
        """Close the connection to the queue."""
        self.huey.storage.close()


def _huey(url: str, folder: Path, name: str) -> Huey:
    shared = {"name": name, "results": False, "serializer": _Json()}
    if url:
        timeouts = f"socket_timeout={REDIS_TIMEOUT_S}&socket_connect_timeout={REDIS_TIMEOUT_S}"
        return cast(Huey, RedisHuey(url=f"{url}{'&' if '?' in url else '?'}{timeouts}", **shared))
    # `fsync` sets synchronous=FULL: every commit reaches the disk
    file = str(folder / "queue.db")
    return Huey(storage_class=RecoveringSqliteStorage, filename=file, fsync=True, strict_fifo=True, **shared)
