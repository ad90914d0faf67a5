"""Work on parts: files go to services, rows to journals, and complete parts to results."""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import anyio

from ..errors import ClipstackError
from ..loop_thread import run_in_thread
from .formats import encode
from .journal import Finished, Journal
from .manifest import Part
from .request import BulkRequest, Limits
from .rows import answer_row, error_row
from .service import Blame, Service, ServiceLost, blame
from .source import Entry
from .stats import Stats
from .stores.interface import Store
from .work_queue import WorkQueue

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

FLUSH_S = 1.0  # a kill loses at most the rows of this time, and none in a folder
MAX_BUSY = 30  # times that services may refuse one file as busy, while they answer others


@dataclass(frozen=True)
class Output:
    """Place and format of the results."""

    store: Store
    format: str

    def name(self, part: Part) -> str:
        """Return the name of a part's file."""
        return f"{part.name}.{self.format}"


class OpenPart:
    """A part that is worked on, with the rows so far."""

    def __init__(self, part: Part, journal: Journal, rows: dict[int, Finished]) -> None:
        self.part, self.journal, self.rows = part, journal, rows

    def missing(self) -> list[int]:
        """Return the numbers of the files without a row."""
        return [index for index in range(len(self.part.entries)) if index not in self.rows]


@dataclass(frozen=True)
class Unit:
    """File number `index` of a part.

    `tries` are the attempts that failed, `spent_s` the seconds that they took. `refusals` are the times that a service
    was too busy for it, although others were finished in between; `finished_before` is their number at the last
    refusal.
    """

    part: OpenPart
    index: int
    tries: int = 0
    refusals: int = 0
    finished_before: int = 0
    spent_s: float = 0.0

    @property
    def entry(self) -> Entry:
        """Return the file."""
        return self.part.part.entries[self.index]


class PartRunner:
    """Worker on parts for any number of services: each gets the next file as soon as it has a free place."""

    def __init__(
        self, services: Sequence[Service], output: Output, request: BulkRequest, limits: Limits, stats: Stats
    ) -> None:
        self._services, self._output, self._request = services, output, request
        self._limits, self._stats = limits, stats
        places = len(services) * limits.concurrency
        self._queue: WorkQueue[Unit] = WorkQueue(2 * places)
        self._open: set[OpenPart] = set()
        self._lost: list[ServiceLost] = []

    async def run(self, parts: Iterable[Part]) -> None:
        """Work on all parts until they are written.

        When it ends early, whether by an error or by cancellation, the journals have all finished rows. Raise
        ServiceLost if every service has been away for too long, KeyRefused or RequestRefused if one refuses the key or
        the parameters, StoreFailed if the results cannot be written.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._feed, parts)
                tasks.start_soon(self._flush_journals)
                for service in self._services:
                    for _ in range(self._limits.concurrency):
                        tasks.start_soon(self._work, service)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            for part in self._open:
                part.journal.close()

    async def _feed(self, parts: Iterable[Part]) -> None:
        """Open parts and queue their files; the queue's bound keeps the number of open parts low."""
        for part in parts:
            opened = await run_in_thread(self._open_part, part)
            if opened is None:
                self._stats.resumed += len(part.entries)
                continue
            self._open.add(opened)
            missing = opened.missing()
            self._stats.resumed += len(part.entries) - len(missing)
            if not missing:
                await self._write(opened)
            for index in missing:
                await self._queue.put(Unit(opened, index))
        self._queue.complete()

    def _open_part(self, part: Part) -> OpenPart | None:
        """Return a part with the rows of its journal; None if another process has written its results; blocks."""
        journal = Journal(self._output.store, part)
        rows = journal.read()
        if not rows and self._output.store.exists(self._output.name(part)):
            return None
        if self._limits.retry_errors:
            rows = {index: finished for index, finished in rows.items() if not finished.retry}
        return OpenPart(part, journal, rows)

    async def _flush_journals(self) -> None:
        """Flush the journals every second, until all is done."""
        while not self._queue.ended:
            with anyio.move_on_after(FLUSH_S):
                await self._queue.wait_ended()
            for part in tuple(self._open):
                await run_in_thread(part.journal.flush)

    async def _work(self, service: Service) -> None:
        """Send files to a service until there are none, or the service is lost."""
        while True:
            await service.ready()
            unit = await self._queue.get()
            if unit is None:
                return
            if not service.is_ready:  # it has refused another file meanwhile
                self._queue.give_back(unit)
                continue
            try:
                async with service.slots:
                    finished = await self._process(service, unit)
            except _Busy as busy:
                self._queue.give_back(busy.unit)
                if self._is_lost(service, busy.error):
                    return
                continue
            if finished is not None:
                await self._record(unit.part, finished)

    def _is_lost(self, service: Service, error: ClipstackError) -> bool:
        """Return whether the service has been away for too long; raise ServiceLost if all of them have."""
        try:
            service.refused(error)
        except ServiceLost as lost:
            self._lost.append(lost)
            if len(self._lost) == len(self._services) * self._limits.concurrency:
                raise
            return True
        return False

    async def _record(self, part: OpenPart, finished: Finished) -> None:
        """Put a row into the journal, and write the results of its part if it was the last one."""
        part.rows[finished.index] = finished
        part.journal.append(finished)
        self._stats.add(finished)
        if len(part.rows) == len(part.part.entries):
            await self._write(part)
        self._queue.finish()

    async def _process(self, service: Service, unit: Unit) -> Finished | None:
        """Send one file and return its row; None if it is queued for another attempt. Raises _Busy."""
        started = time.perf_counter()
        try:
            answer = await service.send(unit.entry, self._request)
        except (ClipstackError, OSError) as error:
            unit = replace(unit, spent_s=unit.spent_s + time.perf_counter() - started)
            return self._failed(service, unit, error)
        service.answered()
        seconds = unit.spent_s + time.perf_counter() - started
        return Finished(unit.index, answer_row(unit.entry, answer, unit.tries + 1, seconds))

    def _failed(self, service: Service, unit: Unit, error: ClipstackError | OSError) -> Finished | None:
        cause = blame(error)
        if cause is Blame.RUN:
            raise error
        if isinstance(error, ClipstackError) and cause is Blame.SERVICE and unit.refusals < MAX_BUSY:
            done = self._stats.done
            refusals = unit.refusals + (done > unit.finished_before)
            raise _Busy(error, replace(unit, refusals=refusals, finished_before=done))
        if cause is Blame.FILE:
            service.answered()
        if cause is Blame.ATTEMPT and unit.tries < self._limits.retries:
            self._queue.give_back(replace(unit, tries=unit.tries + 1))
            return None
        retry = cause is not Blame.FILE
        return Finished(unit.index, error_row(unit.entry, error, unit.tries + 1, unit.spent_s), retry)

    async def _write(self, opened: OpenPart) -> None:
        """Write the results of a complete part, and remove its journal unless a later run may do better."""
        finished = [opened.rows[index] for index in range(len(opened.part.entries))]
        content = await run_in_thread(encode, [entry.row for entry in finished], self._output.format)
        if any(entry.retry for entry in finished):
            await run_in_thread(opened.journal.close)
        await run_in_thread(self._output.store.write, self._output.name(opened.part), content)
        if not any(entry.retry for entry in finished):
            await run_in_thread(opened.journal.remove)
        self._open.discard(opened)


class _Busy(Exception):  # noqa: N818 - carries a file back to the queue
    """The service is busy or away; `unit` is for another one, or for later."""

    def __init__(self, error: ClipstackError, unit: Unit) -> None:
        super().__init__(error.message)
        self.error, self.unit = error, unit
