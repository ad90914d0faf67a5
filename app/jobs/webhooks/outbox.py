"""Outbox of webhooks in one SQLite table: every event, its attempts and what became of it.

pending ──▶ delivered
   │  ▲         │
   ▼  └─ retry ─┤
 dead ──────────┘        no attempt left, 410 Gone, or a host that is no longer allowed

A damaged file is rebuilt from the job folders: their events of the last days are then sent again.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from app.jobs.storage.sqlite_file import SqliteFile, fill
from app.jobs.webhooks.events import TEST, Message
from app.jobs.webhooks.schedule import MAX_DELAY_S, SPAN_S

VERSION = 1
MAX_PENDING = 100_000  # beyond it the oldest are dead
MAX_ENDED = 10_000  # kept events that were delivered, and as many that are dead
MAX_ERROR = 200  # characters of a kept error
DeliveryState = Literal["pending", "delivered", "dead"]
_COLUMNS = "id, job, owner, number, type, url, occurred, body, state, attempts, due, status, error, changed"
_TABLES = (
    """create table event (
        id text primary key, job text not null, owner text not null, number integer not null, type text not null,
        url text not null, occurred real not null, body text not null, host text not null, state text not null,
        attempts integer not null, due real not null, status integer, error text, changed real not null)""",
    "create index event_due on event (state, host, due)",
    "create index event_of_job on event (job, state, number)",
    "create index event_of_owner on event (owner, occurred, id)",
    "create index event_changed on event (state, changed)",
)
_ADD = """insert or ignore into event (id, job, owner, number, type, url, occurred, body, host, state, attempts, due,
    changed) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?)"""
# A due date beyond the longest delay was written before the clock was set back. Events of a job are sent in order.
_DUE = f"""select {_COLUMNS} from event as candidate where state = 'pending' and host = ? and (due <= ? or due > ?)
    and not exists (select 1 from event as before where before.job = candidate.job and before.job != ''
        and before.state = 'pending' and before.number < candidate.number)
    order by due limit ?"""


class Delivery(NamedTuple):
    """An event of the outbox. Times are seconds since the epoch; `status` and `error` are of the last attempt."""

    id: str
    job: str
    owner: str
    number: int
    type: str
    url: str
    occurred: float
    body: str
    state: DeliveryState
    attempts: int
    due: float
    status: int | None
    error: str | None
    changed: float

    @property
    def host(self) -> str:
        """Host and port of the receiver."""
        return _host(self.url)


class Outbox:
    """Outbox in `folder`, safe for several processes and threads; every method may raise Unavailable.

    `source` returns the events of all jobs, to rebuild a damaged or missing file.
    """

    def __init__(self, folder: Path, source: Callable[[], Iterable[Message]]) -> None:
        self._source = source
        path = folder / f"webhooks-{VERSION}.db"
        self._file = SqliteFile(path, self._create_tables, contents="list of webhooks", kind="webhooks", durable=True)

    @property
    def exists(self) -> bool:
        """Whether any event was ever added."""
        return self._file.path.exists()

    def _create_tables(self, connection: sqlite3.Connection) -> None:
        now = time.time()
        rows = [_values(message, now) for message in self._source() if message.occurred > now - SPAN_S]
        fill(connection, VERSION, _TABLES, _ADD, rows)

    def close(self) -> None:
        """Close the connections."""
        self._file.close()

    def add(self, messages: Iterable[Message]) -> None:
        """Add events that are not there yet; they are on the disk when this returns."""
        rows = [_values(message, time.time()) for message in messages]
        self._file.write(lambda connection: connection.executemany(_ADD, rows))

    def due(self, now: float, per_host: int, taken: Collection[str] = ()) -> list[Delivery]:
        """Return events to send now, at most `per_host` of each host, without those whose ids are in `taken`."""

        def operation(connection: sqlite3.Connection) -> list[Delivery]:
            hosts = connection.execute("select distinct host from event where state = 'pending'").fetchall()
            late, count = now + MAX_DELAY_S, per_host + len(taken)
            rows = [row for (host,) in hosts for row in connection.execute(_DUE, (host, now, late, count)).fetchall()]
            return [Delivery(*row) for row in rows if row[0] not in taken]

        return self._file.read(operation)

    def record_success(self, event: Delivery, status: int) -> None:
        """Record that the receiver took the event."""
        self._end(event, "delivered", status, None)

    def record_failure(self, event: Delivery, status: int | None, error: str, delay_s: float | None) -> None:
        """Record a failed attempt; the next one is in `delay_s` seconds, or the event is dead if that is None."""
        if delay_s is None:
            self._end(event, "dead", status, error)
            return
        sql = "update event set attempts = ?, due = ?, status = ?, error = ?, changed = ? where id = ?"
        now = time.time()
        self._file.execute(sql, event.attempts + 1, now + delay_s, status, error[:MAX_ERROR], now, event.id)

    def record_gone(self, event: Delivery, status: int) -> None:
        """Record that the receiver wants no more events: all that wait for this address are dead."""
        sql = """update event set state = 'dead', attempts = attempts + 1, status = ?, error = ?, changed = ?
            where owner = ? and url = ? and state = 'pending'"""
        self._file.execute(sql, status, "the receiver is gone", time.time(), event.owner, event.url)

    def _end(self, event: Delivery, state: DeliveryState, status: int | None, error: str | None) -> None:
        sql = "update event set state = ?, attempts = ?, status = ?, error = ?, changed = ? where id = ?"
        self._file.execute(sql, state, event.attempts + 1, status, error and error[:MAX_ERROR], time.time(), event.id)

    def retry(self, event_id: str) -> None:
        """Send an event again, as if it were new."""
        now = time.time()
        sql = "update event set state = 'pending', attempts = 0, due = ?, changed = ? where id = ?"
        self._file.execute(sql, now, now, event_id)

    def find(self, event_id: str, owner: str | None) -> Delivery | None:
        """Return one event of `owner`, or of any owner if None."""
        rows = self._select("where id = ?", event_id)
        return rows[0] if rows and owner in (None, rows[0].owner) else None

    def newest(
        self, count: int, owner: str | None, state: str | None, before: tuple[float, str] | None = None
    ) -> list[Delivery]:
        """Return at most `count` events, newest first, of `owner` and in `state`; None stands for all.

        `before` has the time and the id of the last event of the page before.
        """
        where, values = ["1"], list[object]()
        for column, value in (("owner", owner), ("state", state)):
            if value is not None:
                where, values = [*where, f"{column} = ?"], [*values, value]
        if before is not None:
            where, values = [*where, "(occurred, id) < (?, ?)"], [*values, *before]
        return self._select(f"where {' and '.join(where)} order by occurred desc, id desc limit ?", *values, count)

    def pending_tests(self, owner: str) -> int:
        """Return how many test events of `owner` wait."""
        sql = "select count(*) from event where owner = ? and type = ? and state = 'pending'"
        return int(self._file.value(sql, owner, TEST))

    def counts(self) -> dict[str, int]:
        """Return how many events are in each state."""
        rows = dict(self._file.rows("select state, count(*) from event group by state"))
        return {state: int(rows.get(state, 0)) for state in get_args(DeliveryState)}

    def oldest_pending(self) -> float | None:
        """Return when the event that waits longest occurred, or None."""
        occurred: float | None = self._file.value("select min(occurred) from event where state = 'pending'")
        return occurred

    def prune(self, before: float) -> None:
        """Remove ended events that ended before `before` or are too many; end pending ones that are too many."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute("delete from event where state != 'pending' and changed < ?", (before,))
            for state in ("delivered", "dead"):
                connection.execute(
                    """delete from event where state = ? and id in
                        (select id from event where state = ? order by changed desc limit -1 offset ?)""",
                    (state, state, MAX_ENDED),
                )
            connection.execute(
                """update event set state = 'dead', error = 'too many events wait', changed = ? where id in
                    (select id from event where state = 'pending' order by occurred desc limit -1 offset ?)""",
                (time.time(), MAX_PENDING),
            )

        self._file.write(operation)

    def _select(self, rest: str, *values: object) -> list[Delivery]:
        return [Delivery(*row) for row in self._file.rows(f"select {_COLUMNS} from event {rest}", *values)]


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()


def _values(message: Message, now: float) -> tuple[object, ...]:
    return (*message, _host(message.url), now, now)
