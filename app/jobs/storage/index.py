"""Index of all jobs in one SQLite table, so that queries do not read every folder.

The folders are authoritative, and the table can be rebuilt from them. The states are those of the records, plus
`adding` for a job that has a reservation while its file is being copied and its folder does not exist yet.
"""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from app.jobs.storage.records import FINISHED, STATES, State
from app.jobs.storage.sqlite_file import WAIT_S, SqliteFile, fill

ADDING = "adding"
VERSION = 1
_ADD = """insert into total values (new.owner, new.state, new.ended, 1, new.bytes)
    on conflict do update set jobs = jobs + 1, bytes = bytes + excluded.bytes"""
_TAKE = "update total set jobs = jobs - 1, bytes = bytes - old.bytes where owner = old.owner and state = old.state"
_TABLES = (
    """create table job (
        id text primary key, owner text not null, created text not null, state text not null,
        ended integer not null, since real not null, bytes integer not null) without rowid""",
    "create index job_newest on job (created, id)",
    "create index job_newest_of_owner on job (owner, created, id)",
    "create index job_since on job (state, since)",
    "create index job_ended on job (ended, since)",
    "create index job_ended_of_owner on job (owner, ended, since)",
    """create table total (
        owner text, state text, ended integer, jobs integer not null, bytes integer not null,
        primary key (owner, state)) without rowid""",
    "create table fact (name text primary key, value real not null) without rowid",
    f"create trigger job_added after insert on job begin {_ADD}; end",
    f"create trigger job_removed after delete on job begin {_TAKE}; end",
    f"create trigger job_changed after update on job begin {_TAKE}; {_ADD}; end",
)
_BYTES = "select coalesce(sum(bytes), 0) from total"
_PUT = """insert into job values (?, ?, ?, ?, ?, ?, ?) on conflict do update set owner = excluded.owner,
    created = excluded.created, state = excluded.state, ended = excluded.ended, since = excluded.since,
    bytes = excluded.bytes"""


class Row(NamedTuple):
    """One job of the index: `since` is when it entered its state, in seconds since the epoch."""

    id: str
    owner: str
    created: str
    state: str
    since: float
    bytes: int

    def values(self) -> tuple[object, ...]:
        """Return the values in the order of the table's columns."""
        return (self.id, self.owner, self.created, self.state, self.state in FINISHED, self.since, self.bytes)


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum number of unfinished jobs, in total and of one owner, and of the bytes of all jobs."""

    jobs: int
    jobs_per_owner: int
    bytes: int


Verdict = Literal["reserved", "known", "full", "owner full", "no room"]


class JobIndex:
    """Job table in `folder`, which `rows` rebuilds from all job folders; every method may raise Unavailable."""

    def __init__(self, folder: Path, rows: Callable[[], Iterable[Row]], wait_s: float = WAIT_S) -> None:
        self._rows = rows
        self._file = SqliteFile(folder / f"jobs-index-{VERSION}.db", self._create_tables, wait_s)

    @property
    def path(self) -> Path:
        """Path of the SQLite file."""
        return self._file.path

    def _create_tables(self, connection: sqlite3.Connection) -> None:
        rows = [row.values() for row in self._rows()]  # before the transaction: reading many folders takes a while
        fill(connection, VERSION, _TABLES, _PUT, rows)

    def close(self) -> None:
        """Close the connections."""
        self._file.close()

    def reserve(self, row: Row, limits: Limits) -> Verdict:
        """Reserve capacity for a new job, or return why there is none; atomic across processes."""

        def operation(connection: sqlite3.Connection) -> Verdict:
            if connection.execute("select 1 from job where id = ?", (row.id,)).fetchone():
                return "known"
            open_jobs = "select coalesce(sum(jobs), 0) from total where not ended"
            if connection.execute(open_jobs).fetchone()[0] >= limits.jobs:
                return "full"
            jobs_of_owner = connection.execute(f"{open_jobs} and owner = ?", (row.owner,)).fetchone()[0]
            if row.owner and jobs_of_owner >= limits.jobs_per_owner:
                return "owner full"
            if connection.execute(_BYTES).fetchone()[0] + row.bytes > limits.bytes:
                return "no room"
            connection.execute(_PUT, row.values())
            return "reserved"

        return self._file.write(operation)

    def state(self, job_id: str) -> str | None:
        """Return a job's state, or None when the index does not have the job."""
        rows = self._select("where id = ?", job_id)
        return rows[0].state if rows else None

    def put(self, *rows: Row) -> None:
        """Insert or replace jobs."""
        self._file.write(lambda connection: connection.executemany(_PUT, [row.values() for row in rows]))

    def set_state(self, job_id: str, state: State, since: float, size: int) -> bool:
        """Update a job's state; return whether the index has the job."""
        sql = "update job set state = ?, ended = ?, since = ?, bytes = ? where id = ?"
        return self._file.execute(sql, state, state in FINISHED, since, size, job_id) > 0

    def remove(self, *identities: str) -> None:
        """Delete jobs."""
        rows = [(job_id,) for job_id in identities]
        self._file.write(lambda connection: connection.executemany("delete from job where id = ?", rows))

    def newest(
        self,
        max_count: int,
        owner: str | None = None,
        state: State | None = None,
        before: tuple[str, str] | None = None,
    ) -> list[Row]:
        """Return at most `max_count` of the newest jobs, of `owner`, in `state` and older than `before`, if given.

        `before` is `created` and `id` of a job.
        """
        where, values = ["state != 'adding'"], list[object]()
        if state is not None:
            where, values = [*where, "state = ?"], [state]
        if owner is not None:
            where, values = [*where, "owner = ?"], [*values, owner]
        if before is not None:
            where, values = [*where, "(created, id) < (?, ?)"], [*values, *before]
        return self._select(f"where {' and '.join(where)} order by created desc, id desc limit ?", *values, max_count)

    def open_jobs(self) -> list[Row]:
        """Return all jobs that are not finished."""
        return self._select("where ended = 0")

    def oldest_finished(self, max_count: int, owner: str | None = None) -> list[Row]:
        """Return at most `max_count` finished jobs, those that finished first at the front."""
        if owner is None:
            return self._select("where ended = 1 order by since limit ?", max_count)
        return self._select("where ended = 1 and owner = ? order by since limit ?", owner, max_count)

    def done(self, max_count: int, owner: str | None = None) -> list[tuple[str, float]]:
        """Return ids and end times of at most `max_count` done jobs, of `owner` or of all, the last to end first."""
        where, values = "ended = 1 and state = 'done'", list[object]()
        if owner is not None:
            where, values = f"{where} and owner = ?", [owner]
        sql = f"select id, since from job where {where} order by since desc limit ?"
        return self._file.rows(sql, *values, max_count)

    def running(self) -> list[Row]:
        """Return the running jobs."""
        return self._select("where state = 'running'")

    def identities(self) -> set[str]:
        """Return the ids of all jobs."""
        return {row[0] for row in self._file.rows("select id from job")}

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        rows = dict(self._file.rows("select state, sum(jobs) from total group by state"))
        counts: dict[str, int] = {state: int(rows.get(state, 0)) for state in STATES}
        counts["queued"] += int(rows.get(ADDING, 0))
        return counts

    def finished_by_owner(self, max_count: int) -> dict[str, int]:
        """Return the number of finished jobs of each owner that has more than `max_count`."""
        sql = "select owner, sum(jobs) as kept from total where ended group by owner having kept > ?"
        return dict(self._file.rows(sql, max_count))

    def bytes(self) -> int:
        """Return the disk usage of all jobs."""
        return int(self._file.value(_BYTES))

    def open_bytes(self) -> int:
        """Return the disk usage of the unfinished jobs."""
        return int(self._file.value(f"{_BYTES} where not ended"))

    def oldest_since(self, state: State) -> float | None:
        """Return when the job that has been in `state` longest entered it, or None."""
        since: float | None = self._file.value("select min(since) from job where state = ?", state)
        return since

    def facts(self) -> dict[str, float]:
        """Return the values that `set_numbers` stored."""
        return dict(self._file.rows("select name, value from fact"))

    def set_numbers(self, **facts: float) -> None:
        """Store named numbers."""
        sql = "insert or replace into fact values (?, ?)"
        self._file.write(lambda connection: connection.executemany(sql, list(facts.items())))

    def _select(self, rest: str, *values: object) -> list[Row]:
        sql = f"select id, owner, created, state, since, bytes from job {rest}"
        return [Row(*row) for row in self._file.rows(sql, *values)]
