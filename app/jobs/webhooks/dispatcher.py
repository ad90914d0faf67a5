"""Dispatcher of webhooks: takes due events from the outbox, sends them, and records what became of them."""

import asyncio
import logging
import time
from collections import Counter

from app.errors import Unavailable
from app.jobs.webhooks.events import TEST
from app.jobs.webhooks.outbox import Delivery, Outbox
from app.jobs.webhooks.schedule import next_delay_s
from app.jobs.webhooks.sender import GONE, Outcome, Sender

MAX_ATTEMPTS = 16  # at the same time
PER_HOST = 4  # attempts at the same time; a slow host must not hold all connections
POLL_S = 0.5
PRUNE_S = 60.0
END_S = 3.0  # attempts that run when the program is asked to end may take this long

log = logging.getLogger(__name__)


class Dispatcher:
    """Loop of the program; only one process runs it at a time.

    A process that dies between an attempt and its record sends the event again: receivers drop it by its id.
    """

    def __init__(self, outbox: Outbox, sender: Sender, kept_s: float) -> None:
        self._outbox, self._sender, self._kept_s = outbox, sender, kept_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hosts = Counter[str]()
        self._changed = asyncio.Event()
        self._pruned = 0.0

    async def run(self, stopping: asyncio.Event) -> None:
        """Send events until `stopping` is set."""
        while not stopping.is_set():
            try:
                await self._start_due()
                await self._prune()
            except Unavailable as error:
                log.warning("the outbox of webhooks is not available: %s", error)
            self._changed.clear()
            waits = [asyncio.ensure_future(event.wait()) for event in (stopping, self._changed)]
            await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        await self._finish()

    async def _start_due(self) -> None:
        free = MAX_ATTEMPTS - len(self._tasks)
        if free <= 0:
            return
        for event in await asyncio.to_thread(self._outbox.due, time.time(), PER_HOST, tuple(self._tasks)):
            if free > 0 and self._hosts[event.host] < PER_HOST:
                free -= 1
                self._hosts[event.host] += 1
                self._tasks[event.id] = asyncio.create_task(self._deliver(event))

    async def _deliver(self, event: Delivery) -> None:
        try:
            outcome = await self._sender.send(event)
            await asyncio.to_thread(self._record, event, outcome)
        except Unavailable as error:
            log.warning("the attempt of %s is not recorded, it will be repeated: %s", event.id, error)
            await asyncio.sleep(POLL_S)
        except Exception:
            log.exception("webhook %s could not be sent", event.id)
            await asyncio.sleep(PRUNE_S)
        finally:
            self._hosts[event.host] -= 1
            del self._tasks[event.id]
            self._changed.set()

    def _record(self, event: Delivery, outcome: Outcome) -> None:
        if outcome.error is None:
            self._outbox.record_success(event, outcome.status or 0)
            return
        if outcome.status == GONE:
            self._outbox.record_gone(event, outcome.status)
            delay_s = None
        else:
            is_final = outcome.is_final or event.type == TEST
            delay_s = None if is_final else next_delay_s(event.attempts + 1, outcome.retry_after_s)
            self._outbox.record_failure(event, outcome.status, outcome.error, delay_s)
        what = "is dead" if delay_s is None else f"is tried again in {delay_s:.0f} s"
        log.warning("webhook %s to %s %s: %s", event.id, event.host, what, outcome.error)

    async def _prune(self) -> None:
        if time.monotonic() - self._pruned >= PRUNE_S:
            self._pruned = time.monotonic()
            await asyncio.to_thread(self._outbox.prune, time.time() - self._kept_s)

    async def _finish(self) -> None:
        """Let running attempts end; those that take too long are repeated by the next process."""
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
