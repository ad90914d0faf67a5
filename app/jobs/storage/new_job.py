"""Creation of a folder under a hidden name beside the others; one rename publishes it complete."""

import fcntl
import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from app.files import fsync_path, is_locked, open_lock, write_file
from app.jobs.storage.records import JobSpec
from app.media.types import Source

HIDDEN = "."  # prefix of the names of folders that are being created or removed
FOLDER_BYTES = 24 << 10  # disk usage of a job's folder without its video and its journal
LEFTOVER_AGE_S = 600.0  # longer than copying any upload takes


class NewFolder:
    """Context manager for the folder `target` under construction, locked; on exit it is published or removed."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"{HIDDEN}new-{target.name}-{secrets.token_hex(4)}")
        self._lock = -1

    def __enter__(self) -> Self:
        """Create and lock the folder; raise OSError when the disk is full."""
        self.path.mkdir(mode=0o700)
        try:
            self._lock = open_lock(self.path / "lock")
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)

    def publish(self) -> bool:
        """Rename the folder to `target` and fsync it; return False when `target` exists."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # a worker may claim the job at once
        try:
            self.path.rename(self._target)  # fails if the target is a folder that is not empty
        except OSError:
            if self._target.is_dir():
                return False
            raise
        fsync_path(self._target.parent)
        return True


class NewJob(NewFolder):
    """Context manager for a job under construction."""

    def write(self, spec: JobSpec, source: Source | None) -> None:
        """Write and fsync the job of a file, None for one to download; raise OSError when the disk is full."""
        if source is not None:
            link_or_copy(Path(source.path), source.offset, source.length, self.path / "source")
        (self.path / "pictures").mkdir()
        write_file(self.path / "job.json", json.dumps(asdict(spec)).encode(), durable=True)


def link_or_copy(source: Path, offset: int, length: int, target: Path) -> None:
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


def remove_leftovers(folder: Path) -> None:
    """Remove hidden folders that a killed process left in `folder` more than `LEFTOVER_AGE_S` ago."""
    with os.scandir(folder) as entries:
        hidden = [Path(entry.path) for entry in entries if entry.name.startswith(HIDDEN)]
    for path in hidden:
        with suppress(FileNotFoundError):
            # A changed clock can make anything look old, so the lock is checked too
            if time.time() - path.stat().st_ctime > LEFTOVER_AGE_S and not is_locked(path / "lock"):
                shutil.rmtree(path, ignore_errors=True)
