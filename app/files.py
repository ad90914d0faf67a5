"""Files in folders that several processes share, and that a crash may leave in any state: reads, writes and locks."""

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.errors import StorageFull

MAX_BYTES = 64 << 20
LOCK_POLL_S = 0.01
BLOCK_BYTES = 512  # unit of `st_blocks`
# Errors that are caused by the file itself. Others (EMFILE, ENOMEM) say nothing about the file.
_DAMAGE = frozenset((errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EIO))
FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


@contextmanager
def full_disk_errors() -> Iterator[None]:
    """Raise StorageFull for the block's OSError of a full disk, or of a file as large as this process may write."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL or error.errno == errno.EFBIG:
            raise StorageFull from error
        raise


class DamagedFile(Exception):
    """A file exists but is unusable: not a regular file, unreadable, or with invalid content."""


def open_file(path: Path, *, follow_links: bool = False) -> BinaryIO:
    """Open a regular file for reading; reject FIFOs, devices and folders without blocking.

    Raises:
        FileNotFoundError: The file does not exist.
        DamagedFile: The path is not a regular file, or cannot be opened.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _DAMAGE:
            raise DamagedFile(f"{path} cannot be read: {error.strerror}") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedFile(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, max_bytes: int = MAX_BYTES, *, follow_links: bool = False) -> bytes:
    """Return the content of a regular file.

    Raises:
        FileNotFoundError: The file does not exist.
        DamagedFile: The path is not a regular file, is larger than `max_bytes`, or cannot be read.
    """
    with open_file(path, follow_links=follow_links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise DamagedFile(f"{path} has {size} bytes, more than the {max_bytes} expected")
        try:
            return file.read(max_bytes)
        except OSError as error:
            if error.errno in _DAMAGE:
                raise DamagedFile(f"{path} cannot be read: {error.strerror}") from error
            raise


def write_file(
    path: Path, content: bytes, *, durable: bool = False, mode: int | None = None, group: int | None = None
) -> None:
    """Replace a file atomically: readers see either the old content or the new.

    With `durable` the new content is on disk when this returns. Without it a power loss may restore the old content
    or, on some file systems, leave an empty file. A killed process never leaves a partial file. The file gets the
    permissions `mode`, else those of the umask, and the group with the id `group`, else the process's.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with new.open("xb") as file:
            if group is not None:
                os.fchown(file.fileno(), -1, group)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    if durable:
        fsync_path(path.parent)


def write_all(descriptor: int, content: bytes | bytearray) -> None:
    """Write all of `content` to an open file: a single write may write a part of it."""
    with memoryview(content) as rest:
        position = 0
        while position < len(rest):
            position += os.write(descriptor, rest[position:])


def fsync_path(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def file_lock(path: Path, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the exclusive lock of the lock file at `path`; other processes and threads wait.

    Raises:
        TimeoutError: Somebody else holds the lock for longer than `timeout_s` seconds; None waits without limit.
        FileNotFoundError: The folder does not exist.
    """
    descriptor = open_lock(path)
    try:
        if timeout_s is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            deadline = time.monotonic() + timeout_s
            while not try_lock(descriptor):
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"{path} is locked")
                time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file; return False if somebody else holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the exclusive lock of the file at `path`. Two such calls do not see each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> int:
    """Open a lock file, creating it if it is missing, and return its descriptor. Its content does not matter.

    A path that is not a regular file is renamed to `<name>.damaged-<random>` and replaced. The same happens to an
    unreadable file of this process's user. A lock file of another user is left alone: it may be held.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    for last_try in (False, True):
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            if last_try or error.errno not in _DAMAGE or path.lstat().st_uid != os.geteuid():
                raise
        else:
            if last_try or stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
        with suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
    raise AssertionError("unreachable")


def disk_usage(path: Path) -> int:
    """Return the disk usage of a folder and its contents, in whole blocks; 0 when it is gone."""
    used = 0
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        used += path.stat().st_blocks * BLOCK_BYTES
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    used += disk_usage(Path(entry.path))
                else:
                    with suppress(FileNotFoundError):
                        used += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
    return used
