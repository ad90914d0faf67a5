"""Files in folders that other processes share, and that a crash may leave in any state: read, written whole, locked."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 64 << 20
# Opening or reading this very file fails, whoever tries. Others (EMFILE, ENOMEM) say nothing about the file.
_DAMAGE = frozenset((errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EIO))
FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class DamagedFile(Exception):
    """A file that is there and cannot be used: of the wrong kind, unreadable, or with impossible content."""


def open_file(path: Path, *, follow_links: bool = False) -> BinaryIO:
    """Return a regular file, open for reading.

    Never waits: a FIFO or a device in the file's place is refused, like a folder.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: It is no regular file, or cannot be opened.
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
        raise DamagedFile(f"{path} is no regular file")
    return open(descriptor, "rb")


def read_file(path: Path, max_bytes: int = MAX_BYTES, *, follow_links: bool = False) -> bytes:
    """Return the content of a regular file.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: It is no regular file, is larger than `max_bytes`, or cannot be read.
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


def write_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace a file as a whole: readers see the old content or the new one.

    With `durable` the new content is on the disk when this returns. Without it a power loss may bring back the old
    content or, on some file systems, leave an empty file; a killed process never does.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with new.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    if durable:
        fsync_path(path.parent)


def fsync_path(path: Path) -> None:
    """Return when a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> int:
    """Return a descriptor of a lock file, which is made where it is missing; its content does not matter.

    What is no regular file, or is our own and may not be opened, is renamed to `<name>.damaged-<random>` and replaced.
    Another user's lock is left alone: it may be held.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    for last_try in (False, True):
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            if last_try or error.errno not in _DAMAGE or not _is_own(path):
                raise
        else:
            if last_try or stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
        with suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}"))
    raise AssertionError("unreachable")


def _is_own(path: Path) -> bool:
    return path.lstat().st_uid == os.geteuid()
