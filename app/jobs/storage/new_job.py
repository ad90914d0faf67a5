"""Creation of a job in a hidden folder beside the others, which one rename turns into the job's folder."""

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
from app.media.types import Source

HIDDEN = "."  # prefix of the names of folders that are being created or removed
FOLDER_BYTES = 24 << 10  # disk usage of a job's folder without its video and its journal


class NewJob:
    """Context manager for a job under construction.

    It holds the folder's lock. On exit the folder has become the job's, or it is removed.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f"{HIDDEN}new-{target.name}-{secrets.token_hex(4)}")
        self._lock = -1

    def __enter__(self) -> NewJob:
        """Create and lock the folder; raise OSError when the disk is full."""
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

    def write(self, spec: JobSpec, source: Source | None) -> None:
        """Write the job of a file, None for one to download; raise OSError when the disk is full.

        Everything is fsynced on return, because an accepted job must survive a power loss.
        """
        if source is not None:
            _link_or_copy(Path(source.path), source.offset, source.length, self._path / "source")
        (self._path / "pictures").mkdir()
        write_file(self._path / "job.json", json.dumps(asdict(spec)).encode(), durable=True)

    def publish(self) -> bool:
        """Rename the folder to the job's and fsync it; return False when a job of that id exists."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # a worker may claim the job at once
        try:
            self._path.rename(self._target)  # fails if the target is a folder that is not empty
        except OSError:
            if self._target.is_dir():
                return False
            raise
        fsync_path(self._target.parent)
        return True


def _link_or_copy(source: Path, offset: int, length: int, target: Path) -> None:
    """Hard-link the file if all of it is wanted, otherwise copy the range; fsync the target."""
    if offset == 0 and source.stat().st_size == length:
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, target)
    else:
        with source.open("rb") as input_file, target.open("wb") as output_file:
            os.lseek(input_file.fileno(), offset, os.SEEK_SET)
            descriptors, remaining = (output_file.fileno(), input_file.fileno()), length
            while remaining and (count := os.sendfile(*descriptors, None, min(remaining, 1 << 30))):
                remaining -= count
    fsync_path(target)
