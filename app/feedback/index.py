"""Index of all feedback in one SQLite file, so that lists and limits need not read every clip.

The folders are the truth. Before a folder changes, the index is marked `stale`; the change of the index removes the
mark. A process that is killed between the two leaves the mark, and the next one makes the index again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from app.feedback.records import Clip
from app.jobs.storage.sqlite_file import SqliteFile

VERSION = 1
_TABLES = (
    "create table clip (id text primary key, owner text not null, bytes integer not null) without rowid",
    """create table entry (
        id text primary key, clip text not null, owner text not null, model text not null, state text not null,
        job text, updated text not null) without rowid""",
    "create index entry_of_clip on entry (clip)",
    "create index entry_of_job on entry (job)",
    "create index entry_newest on entry (updated, id)",
    "create index entry_state on entry (state, owner, updated)",
    "create table stale (since integer primary key)",
)


class Row(NamedTuple):
    """One entry of the index."""

    id: str
    clip: str
    updated: str


class Usage(NamedTuple):
    """Number of corrections and of unsure answers, of all owners and of one, and the bytes of all clips."""

    corrections: int
    corrections_of_owner: int
    unsure: int
    unsure_of_owner: int
    bytes: int

    def plus_one(self, is_unsure: bool) -> Usage:
        """Return the usage with one more entry of the owner."""
        if is_unsure:
            return self._replace(unsure=self.unsure + 1, unsure_of_owner=self.unsure_of_owner + 1)
        return self._replace(corrections=self.corrections + 1, corrections_of_owner=self.corrections_of_owner + 1)


class Filter(NamedTuple):
    """Which entries to list; None means all. `after` is the last row of the page before."""

    owner: str | None = None
    state: str | None = None
    model: str | None = None
    job: str | None = None
    after: tuple[str, str] | None = None


class FeedbackIndex:
    """Index in a SQLite file in `folder`, made again from `clips`; every method may raise Unavailable."""

    def __init__(self, folder: Path, clips: Callable[[], Iterable[Clip]]) -> None:
        self._clips = clips
        path = folder / f"feedback-index-{VERSION}.db"
        self._file = SqliteFile(path, self._create_tables, contents="list of feedback")

    def _create_tables(self, connection: sqlite3.Connection) -> None:
        clips = list(self._clips())  # before the transaction: reading many folders takes a while
        connection.execute("begin immediate")
        for sql in _TABLES:
            connection.execute(sql)
        for clip in clips:
            _put(connection, clip)
        connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")

    def close(self) -> None:
        """Close the connections."""
        self._file.close()

    def mark_stale(self) -> None:
        """Record that a folder is about to change."""
        self._file.write(lambda connection: connection.execute("insert or ignore into stale values (0)"))

    def is_stale(self) -> bool:
        """Return whether a change of a folder is under way, or was cut off."""
        return self._file.read(lambda connection: connection.execute("select 1 from stale").fetchone() is not None)

    def put(self, clip_id: str, clip: Clip | None) -> None:
        """Replace the rows of a clip, or remove them if it is None, and remove the mark."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute("delete from clip where id = ?", (clip_id,))
            connection.execute("delete from entry where clip = ?", (clip_id,))
            if clip is not None:
                _put(connection, clip)
            connection.execute("delete from stale")

        self._file.write(operation)

    def rebuild(self) -> None:
        """Make all rows again from the clips, and remove the mark."""
        clips = list(self._clips())

        def operation(connection: sqlite3.Connection) -> None:
            for table in ("clip", "entry", "stale"):
                connection.execute(f"delete from {table}")
            for clip in clips:
                _put(connection, clip)

        self._file.write(operation)

    def usage(self, owner: str) -> Usage:
        """Return what is kept, in all and of `owner`."""
        sql = """select count(*) filter (where state != 'unsure'),
            count(*) filter (where state != 'unsure' and owner = :owner), count(*) filter (where state = 'unsure'),
            count(*) filter (where state = 'unsure' and owner = :owner),
            (select coalesce(sum(bytes), 0) from clip) from entry"""
        return Usage(*self._file.read(lambda connection: connection.execute(sql, {"owner": owner}).fetchone()))

    def page(self, wanted: Filter, max_count: int) -> list[Row]:
        """Return at most `max_count` entries, those that changed last first."""
        where, values = ["1"], list[object]()
        for column in ("owner", "state", "model", "job"):
            if (value := getattr(wanted, column)) is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if wanted.after is not None:
            where.append("(updated, id) < (?, ?)")
            values.extend(wanted.after)
        return self._rows(f"where {' and '.join(where)} order by updated desc, id desc limit ?", *values, max_count)

    def oldest_unsure(self, max_count: int, before: str | None = None) -> list[Row]:
        """Return at most `max_count` unsure entries, the oldest first; only those older than `before`, if given."""
        condition, values = ("and updated < ?", [before]) if before else ("", [])
        return self._rows(f"where state = 'unsure' {condition} order by updated limit ?", *values, max_count)

    def find(self, entry_id: str) -> Row | None:
        """Return the entry of that id, or None."""
        return next(iter(self._rows("where id = ?", entry_id)), None)

    def clip_of_job(self, job: str, owner: str) -> str | None:
        """Return the id of the clip that has the file of this job, or None."""
        rows = self._rows("where job = ? and owner = ? limit 1", job, owner)
        return rows[0].clip if rows else None

    def _rows(self, rest: str, *values: object) -> list[Row]:
        sql = f"select id, clip, updated from entry {rest}"
        return [Row(*row) for row in self._file.read(lambda connection: connection.execute(sql, values).fetchall())]


def _put(connection: sqlite3.Connection, clip: Clip) -> None:
    connection.execute("insert into clip values (?, ?, ?)", (clip.id, clip.owner, clip.bytes))
    rows: Sequence[tuple[object, ...]] = [
        (entry["id"], clip.id, clip.owner, entry["model"], entry["state"], entry["job"], entry["updated"])
        for entry in clip.entries
    ]
    connection.executemany("insert or replace into entry values (?, ?, ?, ?, ?, ?, ?)", rows)
