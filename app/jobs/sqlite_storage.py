"""The queue's SQLite file: one that is damaged is set aside, and a new one begun, which the jobs' folders fill again.

It may seem well for long: what was written last lies in its log, and only who opens it after all others have closed it
finds no database. So whoever finds it damaged, at opening or later, sets it aside, and all who have it open turn to
the new one at their next step.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from huey.storage import SqliteStorage

from app import damaged
from app.files import open_lock
from app.jobs.storage.sqlite_file import UNUSABLE, inode, is_damage, unusable_parts

ASIDE = ".damaged"  # the last one is kept
_LOG_FILES = ("-wal", "-shm")

log = logging.getLogger(__name__)


class RecoveringSqliteStorage(SqliteStorage):  # type: ignore[misc]
    """As huey's own, at `filename`; for several processes and threads."""

    _opened: int | None = None  # inode of the file that the connection has open

    @contextmanager
    def db(self, commit: bool = False, close: bool = False) -> Iterator[sqlite3.Cursor]:
        """A cursor; raises sqlite3.DatabaseError as huey's, once for a file that is damaged."""
        if self._opened is not None and inode(Path(self.filename)) != self._opened:
            self.close()  # another process has set it aside
        try:
            with super().db(commit, close) as cursor:
                yield cursor
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self.close()
                set_aside(Path(self.filename))
            raise

    def _create_connection(self) -> sqlite3.Connection:
        path = Path(self.filename)
        if unusable_parts(path):
            with _locked(path):
                for part in unusable_parts(path):
                    damaged.set_aside(part, path.parent, "queue", UNUSABLE)
        try:
            connection = self._connected()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            set_aside(Path(self.filename))
            connection = self._connected()
        self._opened = inode(Path(self.filename))
        return connection

    def _connected(self) -> sqlite3.Connection:
        """With its tables: the file may be one that another process has just begun."""
        connection: sqlite3.Connection = super()._create_connection()
        try:
            for sql in self.ddl:
                connection.execute(sql)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> Any:
        self._opened = None
        return super().close()


def set_aside(path: Path) -> None:
    """Renames a file that is damaged; of several that found it so one does."""
    with _locked(path):
        if _is_well(path):
            return
        for end in _LOG_FILES:
            Path(f"{path}{end}").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.replace(f"{path}{ASIDE}")
            log.error("the queue %s is damaged: it is now %s%s, and made anew from the jobs", path, path.name, ASIDE)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time sets the file aside."""
    lock = open_lock(Path(f"{path}.lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_well(path: Path) -> bool:
    """Whether another process has begun a new one meanwhile."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return bool(connection.execute("pragma quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        return not is_damage(error)
