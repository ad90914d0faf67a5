"""SQLite storage of the queue that replaces a damaged file with a new one; recovery refills it from the job folders.

Damage can stay unnoticed: the last writes are in the write-ahead log, and only a connection opened after all others
have closed fails. Any process that finds damage, when opening or later, sets the file aside. All other processes switch
to the new file at their next operation.
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

ASIDE = ".damaged"  # suffix of the damaged file; only the latest is kept
_LOG_FILES = ("-wal", "-shm")

log = logging.getLogger(__name__)


class RecoveringSqliteStorage(SqliteStorage):  # type: ignore[misc]
    """Huey's SQLite storage at `filename`, with recovery; safe for several processes and threads."""

    _opened: int | None = None  # inode of the open file

    @contextmanager
    def db(self, commit: bool = False, close: bool = False) -> Iterator[sqlite3.Cursor]:
        """Yield a cursor; raise sqlite3.DatabaseError, for a damaged file once."""
        if self._opened is not None and inode(Path(self.filename)) != self._opened:
            self.close()  # another process has set the file aside
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
        """Return a connection with the tables created: another process may have just begun the file."""
        connection: sqlite3.Connection = super()._create_connection()
        try:
            for sql in self.ddl:
                connection.execute(sql)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> Any:
        """Close the connection."""
        self._opened = None
        return super().close()


def set_aside(path: Path) -> None:
    """Rename a damaged file; only the first of several processes does it."""
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
    """Hold the lock under which one process at a time sets the file aside."""
    lock = open_lock(Path(f"{path}.lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_well(path: Path) -> bool:
    """Return whether the file is intact, because another process has replaced it meanwhile."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return bool(connection.execute("pragma quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        return not is_damage(error)
