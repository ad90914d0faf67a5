"""A job that is being made: in a folder beside the others, which becomes the job's in one step."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path

from app.files import fsync_path, open_lock, write_file
from app.jobs.storage.records import JobSpec

HIDDEN = "."  # begins the name of a folder that is being made or removed
FOLDER_BYTES = 24 << 10  # what a job's folder takes with all but its video and its journal


class NewJob:
    """A context, at whose end the folder is gone or is the job's; it is locked meanwhile."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f"{HIDDEN}new-{target.name}-{secrets.token_hex(4)}")
        self._lock = -1

    def __enter__(self) -> NewJob:
        """Raises OSError when the disk is full."""
        self._path.mkdir(mode=0o700)
        try:
            self._lock = open_lock(self._path / "lock")
        except BaseException:
            shutil.rmtree(self._path, ignore_errors=True)
            raise
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)
        shutil.rmtree(self._path, ignore_errors=True)

    def fill(self, asked: JobSpec, source: Path, offset: int, length: int) -> None:
        """Write the job of a file, or of `length` bytes of it from `offset` on; raises OSError when the disk is full.

        All of it is on the disk when this returns: a job that was accepted outlives a power loss.
        """
        _take(source, offset, length, self._path / "source")
        (self._path / "pictures").mkdir()
        write_file(self._path / "job.json", json.dumps(asdict(asked)).encode(), durable=True)

    def publish(self) -> bool:
        """Make it a job, on the disk when this returns; False when there is a job of that id already."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # a worker may take it up at once
        try:
            self._path.rename(self._target)  # fails where there is a folder that is not empty
        except OSError:
            if self._target.is_dir():
                return False
            raise
        fsync_path(self._target.parent)
        return True


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _take(source: Path, offset: int, length: int, target: Path) -> None:
    """Give the file a second name where it is wanted whole, else copy the wanted bytes; on the disk at the end."""
    if offset == 0 and source.stat().st_size == length:
        try:
            os.link(source, target)
        except OSError:  # another file system, or one that knows no links
            shutil.copyfile(source, target)
    else:
        with source.open("rb") as whole, target.open("wb") as part:
            os.lseek(whole.fileno(), offset, os.SEEK_SET)
            left = length
            while left and (sent := os.sendfile(part.fileno(), whole.fileno(), None, min(left, 1 << 30))):
                left -= sent
    fsync_path(target)
