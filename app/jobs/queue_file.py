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

ASIDE = ".damaged"  # the last one is kept
_LOG_FILES = ("-wal", "-shm")

log = logging.getLogger(__name__)


class QueueFile(SqliteStorage):  # type: ignore[misc]
    """As huey's own, at `filename`; for several processes and threads."""

    _opened: int | None = None  # inode of the file that the connection has open

    @contextmanager
    def db(self, commit: bool = False, close: bool = False) -> Iterator[sqlite3.Cursor]:
        """A cursor; raises sqlite3.DatabaseError as huey's, once for a file that is damaged."""
        if self._opened is not None and _inode(self.filename) != self._opened:
            self.close()  # another process has set it aside
        try:
            with super().db(commit, close) as cursor:
                yield cursor
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                self.close()
                set_aside(Path(self.filename))
            raise

    def _create_connection(self) -> sqlite3.Connection:
        try:
            connection = self._connected()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            set_aside(Path(self.filename))
            connection = self._connected()
        self._opened = _inode(self.filename)
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
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_well(path):
            return
        for end in _LOG_FILES:
            Path(f"{path}{end}").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.replace(f"{path}{ASIDE}")
            log.error("the queue %s is damaged: it is now %s%s, and made anew from the jobs", path, path.name, ASIDE)


def _is_well(path: Path) -> bool:
    """Whether another process has begun a new one meanwhile."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return bool(connection.execute("pragma quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        return not _is_damage(error)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """And not a lock, or a disk that is full."""
    return type(error) is sqlite3.DatabaseError


def _inode(filename: str) -> int | None:
    try:
        return os.stat(filename).st_ino
    except OSError:
        return None
