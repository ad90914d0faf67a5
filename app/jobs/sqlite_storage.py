"""SQLite storage of the queue that replaces a damaged file with a new one; recovery refills it from the job folders.

Damage can stay unnoticed: the last writes are in the write-ahead log, and only a connection opened after all others
have closed fails. Any process that finds damage, when opening or later, sets the file aside. All other processes switch
to the new file at their next operation.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from huey.storage import SqliteStorage

from app.files import file_lock
from app.jobs.storage.sqlite_file import LOG_FILES, inode, is_damage, passes_check, set_aside_unusable

ASIDE = ".damaged"  # suffix of the damaged file; only the latest is kept

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
        set_aside_unusable(path, "queue", file_lock(Path(f"{path}.lock")))
        try:
            connection = self._connected()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            set_aside(path)
            connection = self._connected()
        self._opened = inode(path)
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
    with file_lock(Path(f"{path}.lock")):
        if _is_intact(path):
            return
        for end in LOG_FILES:
            Path(f"{path}{end}").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.replace(f"{path}{ASIDE}")
            log.error("the queue %s is damaged: it is now %s%s, and rebuilt from the jobs", path, path.name, ASIDE)


def _is_intact(path: Path) -> bool:
    """Return whether the file is intact, because another process has replaced it meanwhile."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return passes_check(connection)
    except sqlite3.DatabaseError as error:
        return not is_damage(error)
