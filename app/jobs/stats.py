"""Job counts by state, from the index and the files of the running jobs; cheap enough for frequent scrapes."""

import logging
import time
from contextlib import suppress
from typing import NamedTuple, get_args

from app import damaged
from app.errors import Unavailable
from app.jobs.storage.reconcile import UNREADABLE
from app.jobs.storage.records import State
from app.jobs.storage.store import JobStore
from app.jobs.webhooks.outbox import DeliveryState

log = logging.getLogger(__name__)


class Count(NamedTuple):
    """Jobs by state, and ages in seconds.

    `oldest_waiting_s` is the age of the longest waiting job, `longest_still_s` the longest time since a running job
    last wrote its state. `damaged` counts the files that were set aside, by kind, `webhooks` the events by state;
    `oldest_webhook_s` is the age of the oldest one that waits.
    """

    states: dict[str, int]
    oldest_waiting_s: float
    longest_still_s: float
    damaged: dict[str, int]
    webhooks: dict[str, int]
    oldest_webhook_s: float


class JobStats:
    """Statistics of a job store, whose folder may not exist yet; thread-safe."""

    def __init__(self, folder: JobStore) -> None:
        self._folder = folder
        self._last = Count(dict.fromkeys(get_args(State), 0), 0.0, 0.0, {}, {}, 0.0)

    def count(self) -> Count:
        """Return the current counts, or the previous ones while the index is unavailable."""
        data_dir = self._folder.path.parent
        if self._folder.path.is_dir():
            try:
                self._last = self._count()
            except Unavailable as error:
                log.warning("jobs are not counted: %s", error)
        kinds = damaged.count(data_dir)
        return self._last._replace(damaged={**kinds, "job": kinds["job"] + self._last.damaged.get("job", 0)})

    def _count(self) -> Count:
        index, now = self._folder.index, time.time()
        waiting_since = index.oldest_since("queued")
        still_s = 0.0
        for row in index.running():
            if (job := self._folder.job(row.id)) is not None:
                with suppress(OSError):
                    still_s = max(still_s, now - job.last_saved())
        waiting_s = 0.0 if waiting_since is None else max(0.0, now - waiting_since)
        unreadable = {"job": int(index.facts().get(UNREADABLE, 0))}
        return Count(index.counts(), waiting_s, still_s, unreadable, *self._webhooks(now))

    def _webhooks(self, now: float) -> tuple[dict[str, int], float]:
        outbox = self._folder.outbox
        if not outbox.exists:
            return dict.fromkeys(get_args(DeliveryState), 0), 0.0
        oldest = outbox.oldest_pending()
        return outbox.counts(), 0.0 if oldest is None else max(0.0, now - oldest)
