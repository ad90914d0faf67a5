"""SQLite file with derived data: if it is damaged, missing or of another version, it is rebuilt from its source.

Several processes and threads share it: write-ahead log, one short transaction at a time, bounded waits.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from app import damaged
from app.errors import Overloaded, StorageFull, Unavailable
from app.files import file_lock

WAIT_S = 5.0  # longest wait for another process or thread
POLL_S = 0.02
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR}
_DAMAGE |= {sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_SCHEMA}
_READING = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
_READING |= {sqlite3.SQLITE_IOERR_SHMMAP}
LOG_FILES = ("-wal", "-shm")  # suffixes of SQLite's files beside the database
_HEADER = b"SQLite format 3\0"

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]


class SqliteFile:
    """SQLite file at `path`; `make` creates and fills the tables and sets `user_version`, in one transaction.

    Each schema version has its own file name, so that two versions of the service can share a data folder. Connections
    open on first use, after the fork. Reads and writes have a connection each, so that readers never wait for writers.
    `kind` names the file in the quarantine (app/damaged.py). With `durable` a power loss loses no finished transaction.
    """

    def __init__(
        self,
        path: Path,
        make: Callable[[sqlite3.Connection], None],
        wait_s: float = WAIT_S,
        contents: str = "list of jobs",  # in error messages
        *,
        kind: str = "index",
        durable: bool = False,
    ) -> None:
        self.path, self._create_tables, self._wait_s, self._contents = path, make, wait_s, contents
        self._kind, self._durable = kind, durable
        self._reader, self._writer = _Connection(), _Connection()

    def read(self, operation: Work[Result]) -> Result:
        """Return the result of `operation`; raise Unavailable while the file cannot be used."""
        return self._attempt(self._reader, operation)

    def write(self, operation: Work[Result]) -> Result:
        """Run `operation` in one transaction and return its result.

        Raises:
            Unavailable: The file cannot be used now.
            StorageFull: The disk is full.
        """

        def transaction(connection: sqlite3.Connection) -> Result:
            connection.execute("begin immediate")
            try:
                result = operation(connection)
                connection.execute("commit")
                return result
            except BaseException:
                with suppress(sqlite3.Error):  # some errors have already rolled back
                    connection.execute("rollback")
                raise

        return self._attempt(self._writer, transaction)

    def execute(self, sql: str, *values: object) -> int:
        """Run one statement in a transaction and return how many rows it changed; raises the errors of `write`."""
        return self.write(lambda connection: connection.execute(sql, values).rowcount)

    def rows(self, sql: str, *values: object) -> list[Any]:
        """Return all rows of a query; raises the errors of `read`."""
        return self.read(lambda connection: connection.execute(sql, values).fetchall())

    def value(self, sql: str, *values: object) -> Any:
        """Return the first column of the first row of a query; raises the errors of `read`."""
        return self.rows(sql, *values)[0][0]

    def close(self) -> None:
        """Close both connections."""
        for shared in (self._reader, self._writer):
            with shared.lock:
                shared.close()

    def _attempt(self, shared: _Connection, operation: Work[Result]) -> Result:
        if not shared.lock.acquire(timeout=self._wait_s):
            raise Overloaded(f"the {self._contents} is busy; please try again")
        try:
            for is_last_try in (False, True):
                try:
                    return operation(self._open(shared))
                except sqlite3.Error as error:
                    broken_inode = shared.inode
                    shared.close()
                    if is_last_try or not (is_damage(error) or not _has_header(self.path)):
                        raise _unavailable(error, self._contents) from error
                    self._set_aside(broken_inode, error)
            raise AssertionError("unreachable")
        finally:
            shared.lock.release()

    def _open(self, shared: _Connection) -> sqlite3.Connection:
        if shared.connection is not None and shared.inode == inode(self.path):
            return shared.connection
        shared.close()  # another process has replaced the file
        set_aside_unusable(self.path, self._kind, self._exclusive())
        connection = _connect(self.path, self._wait_s, self._durable)
        try:
            if self._is_empty(connection):
                with self._exclusive():
                    if self._is_empty(connection):
                        self._create_tables(connection)
        except BaseException:
            connection.close()
            raise
        shared.connection, shared.inode = connection, inode(self.path)
        return connection

    def _is_empty(self, connection: sqlite3.Connection) -> bool:
        return bool(connection.execute("pragma user_version").fetchone()[0] == 0)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the lock under which one process at a time creates the file or sets it aside.

        Raises Overloaded when another process holds it for too long.
        """
        try:
            with file_lock(self.path.with_name(f"{self.path.name}.lock"), self._wait_s):
                yield
        except TimeoutError:
            raise Overloaded(f"the {self._contents} is being made again; please try again") from None

    def _set_aside(self, broken_inode: int | None, reason: object) -> None:
        with self._exclusive():
            if inode(self.path) != broken_inode if broken_inode is not None else self._is_intact():
                return  # another process has rebuilt it
            for end in LOG_FILES:
                self.path.with_name(f"{self.path.name}{end}").unlink(missing_ok=True)
            damaged.set_aside(self.path, self.path.parent, self._kind, reason)

    def _is_intact(self) -> bool:
        """Return whether the file has tables and passes SQLite's integrity check."""
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT_S)) as connection:
                has_tables = connection.execute("pragma user_version").fetchone()[0] != 0
                return has_tables and passes_check(connection)
        except sqlite3.Error:
            return False


class _Connection:
    """Connection that threads share under a lock, and the inode of its file."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.inode: int | None = None

    def close(self) -> None:
        """Close the connection; the caller holds the lock."""
        if self.connection is not None:
            self.connection.close()
        self.connection = self.inode = None


def fill(
    connection: sqlite3.Connection, version: int, tables: Iterable[str], insert: str, rows: Iterable[Sequence[object]]
) -> None:
    """Create `tables` and `insert` the rows in one transaction, as the argument `make` of SqliteFile must."""
    connection.execute("begin immediate")
    for sql in tables:
        connection.execute(sql)
    connection.executemany(insert, rows)
    connection.execute(f"pragma user_version = {version}")
    connection.execute("commit")


def inode(path: Path) -> int | None:
    """Return a file's inode, or None when the file is missing."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _connect(path: Path, wait_s: float, durable: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        _set_wal(connection, wait_s)
        # `normal`: a power loss may lose the last changes but damages nothing
        connection.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
    except BaseException:
        connection.close()
        raise
    return connection


def _set_wal(connection: sqlite3.Connection, wait_s: float) -> None:
    """Turn on the write-ahead log; retry, because SQLite does not wait for a concurrent switch."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(POLL_S)


def passes_check(connection: sqlite3.Connection) -> bool:
    """Return whether a database passes SQLite's integrity check."""
    return bool(connection.execute("pragma quick_check(1)").fetchone() == ("ok",))


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the error means a damaged file, not a lock, a full disk or too many open files."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF in _DAMAGE or code in _READING


def set_aside_unusable(path: Path, kind: str, lock: AbstractContextManager[object]) -> None:
    """Set aside, under `lock`, what SQLite cannot open: a folder in the file's place, or one without permissions."""
    parts = [path, *(path.with_name(f"{path.name}{end}") for end in LOG_FILES)]
    if any(map(_is_unusable, parts)):
        with lock:
            for part in filter(_is_unusable, parts):
                damaged.set_aside(part, path.parent, kind, "it is not a regular file, or may not be used")


def _is_unusable(path: Path) -> bool:
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
    return not regular or not os.access(path, os.R_OK | os.W_OK)


def _has_header(path: Path) -> bool:
    """Return whether the file begins with SQLite's header; True if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError:
        return True


def _unavailable(error: sqlite3.Error, contents: str) -> Unavailable:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull()
    if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        log.error("the %s cannot be used: %s", contents, error)
    return Overloaded(f"the {contents} is busy; please try again")
