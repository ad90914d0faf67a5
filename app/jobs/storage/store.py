"""One job is one folder: made whole before it is seen, locked by whoever works on it, gone in one step.

<jobs>/<id>/  job.json     what was asked, never changed
              source       the uploaded file
              state.json   how far it is, always whole: written beside and renamed
              journal      what was found (`app/jobs/storage/journal.py`)
              pictures/    small JPEGs of some windows
              cancel       somebody wants it to end
              lock         held for as long as a process works on it

The folders are the truth. `app/jobs/storage/index.py` repeats them, so that nobody has to read them all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from app.errors import Unavailable
from app.files import DamagedFile, open_lock, read_file, write_file
from app.jobs.storage.index import JobIndex, Row
from app.jobs.storage.new_job import HIDDEN, NewJob, is_locked
from app.jobs.storage.records import FINISHED, DamagedRecord, JobSpec, JobState, State, parse

__all__ = ["FINISHED", "JobSpec", "DamagedRecord", "JobStore", "Job", "JobState", "State", "identity", "now"]

_ID = re.compile(r"[0-9a-f]{24}")
LEFT_S = 600.0  # longer than any upload takes to be copied
BLOCK_BYTES = 512  # of `st_blocks`
MAX_SPEC_BYTES = 1 << 20


def now() -> str:
    """This moment as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Job:
    """A job's folder; it may be gone at any time, which reading tells by FileNotFoundError.

    What is saved or removed is repeated in `index`, if there is one.
    """

    def __init__(self, path: Path, index: JobIndex | None = None) -> None:
        self.path, self.id = path, path.name
        self._index = index
        self._saved: State | None = None

    @property
    def source(self) -> Path:
        return self.path / "source"

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    @property
    def data_dir(self) -> Path:
        return self.path.parent.parent

    def asked(self) -> JobSpec:
        """Return what was asked for.

        Raises:
            FileNotFoundError: The job was removed.
            DamagedRecord: Its record cannot be used.
        """
        try:
            asked = parse(JobSpec, read_file(self.path / "job.json", MAX_SPEC_BYTES))
        except FileNotFoundError:
            if os.path.lexists(self.path):
                raise DamagedRecord("job.json is missing") from None
            raise
        except DamagedFile as error:
            raise DamagedRecord(f"job.json: {error}") from error
        if asked.id != self.id:
            raise DamagedRecord(f"job.json is that of job {asked.id[:50]!r}")
        return asked

    def progress(self) -> JobState:
        """Return how far it is; raises as `asked` does."""
        try:
            return parse(JobState, read_file(self.path / "state.json"))
        except FileNotFoundError:
            if not self.path.is_dir():
                raise
            return JobState()
        except DamagedFile as error:
            raise DamagedRecord(f"state.json: {error}") from error

    def row(self) -> Row:
        """Return what the index repeats; raises as `asked` does."""
        asked, progress = self.asked(), self.progress()
        return Row(self.id, asked.owner, asked.created, progress.state, self._since(progress), used_bytes(self.path))

    def _since(self, progress: JobState) -> float:
        if progress.state in FINISHED and progress.finished:
            return datetime.fromisoformat(progress.finished).timestamp()
        return self.written()

    def written(self) -> float:
        """Return when its state was written last, seconds since the epoch; raises FileNotFoundError."""
        with suppress(FileNotFoundError):
            return (self.path / "state.json").stat().st_mtime
        return (self.path / "job.json").stat().st_mtime

    def save(self, progress: JobState, *, durable: bool = False) -> None:
        """Only for whoever holds the lock; `durable` returns when it is on the disk."""
        write_file(self.path / "state.json", json.dumps(asdict(progress)).encode(), durable=durable)
        if self._index is not None and progress.state != self._saved:
            self._saved = progress.state
            with suppress(Unavailable, FileNotFoundError):  # reconciliation writes it down later
                self._index.set_state(self.id, progress.state, self._since(progress), used_bytes(self.path))

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Holds the lock for the block; False when somebody else has it, or the job is gone."""
        try:
            descriptor = open_lock(self.path / "lock")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            yield False
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield self._is_still(descriptor)
        finally:
            os.close(descriptor)

    def _is_still(self, descriptor: int) -> bool:
        """Whether the lock is this job's: it may have been removed meanwhile, and another one made of its id."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path / "lock"))
        except FileNotFoundError:
            return False

    def ask_to_end(self) -> None:
        with suppress(FileNotFoundError):
            (self.path / "cancel").touch()

    def is_asked_to_end(self) -> bool:
        return (self.path / "cancel").exists() or not self.path.exists()

    def remove(self) -> None:
        """Only for whoever holds the lock."""
        gone = self.path.with_name(f"{HIDDEN}gone-{self.id}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            self.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        if self._index is not None:
            with suppress(Unavailable):
                self._index.remove(self.id)


class JobStore:
    """All jobs, and their index."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = JobIndex(path.parent, self._rows)

    def job(self, identity: str) -> Job | None:
        """The job of that id, if there is one."""
        if not _ID.fullmatch(identity) or not (self.path / identity).is_dir():
            return None
        return Job(self.path / identity, self.index)

    def names(self) -> set[str]:
        """The ids of all jobs' folders."""
        return self._names(folders=True)

    def strays(self) -> set[str]:
        """The names of what is in the place of a job's folder and is none."""
        return self._names(folders=False)

    def _names(self, *, folders: bool) -> set[str]:
        with os.scandir(self.path) as entries:
            return {entry.name for entry in entries if _ID.fullmatch(entry.name) and entry.is_dir() == folders}

    def jobs(self) -> Iterator[Job]:
        """All jobs, in no order: reads the names of all folders."""
        return (Job(self.path / name, self.index) for name in self.names())

    def _rows(self) -> Iterator[Row]:
        for job in self.jobs():
            with suppress(FileNotFoundError, DamagedRecord):  # reconciliation sets aside what is damaged
                yield job.row()

    def new(self, identity: str) -> NewJob:
        """A folder in which a job is made."""
        return NewJob(self.path / identity)

    def added(self, identity: str) -> Job:
        """A job that has just been made, written down in the index."""
        job = Job(self.path / identity, self.index)
        with suppress(Unavailable, FileNotFoundError, DamagedRecord):  # reconciliation writes it down later
            self.index.put(job.row())
        return job

    def is_being_made(self, identity: str) -> bool:
        """Whether a process makes the job of that id at this moment."""
        return any(is_locked(path / "lock") for path in self.path.glob(f"{HIDDEN}new-{identity}-*"))

    def remove_left(self) -> None:
        """Removes what a killed process had begun to make or to remove LEFT_S ago."""
        with os.scandir(self.path) as entries:
            hidden = [Path(entry.path) for entry in entries if entry.name.startswith(HIDDEN)]
        for left in hidden:
            with suppress(FileNotFoundError):
                # A clock that was set may make anything look old: what is being made is locked besides
                if time.time() - left.stat().st_ctime > LEFT_S and not is_locked(left / "lock"):
                    shutil.rmtree(left, ignore_errors=True)


def identity(key: str | None, owner: str = "") -> str:
    """A job's id: of one owner's idempotency key always the same, else one that nobody can guess."""
    if not key:
        return secrets.token_hex(12)
    whose = f"{owner}\0" if owner else ""  # no idempotency key has such a character in it
    return hashlib.sha256(f"job:{whose}{key}".encode()).hexdigest()[:24]


def used_bytes(path: Path) -> int:
    """Return what a folder takes on the disk with all that is in it, in whole blocks; 0 when it is gone."""
    used = 0
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        used += path.stat().st_blocks * BLOCK_BYTES
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    used += used_bytes(Path(entry.path))
                else:
                    with suppress(FileNotFoundError):
                        used += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
    return used
