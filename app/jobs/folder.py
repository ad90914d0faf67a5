"""One job is one folder: made whole before it is seen, locked by whoever works on it, gone in one step.

<jobs>/<id>/  job.json     what was asked, never changed
              source       the uploaded file
              state.json   how far it is, always whole: written beside and renamed
              journal      what was found (`app/jobs/journal.py`)
              pictures/    small JPEGs of some windows
              cancel       somebody wants it to end
              lock         held for as long as a process works on it
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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED = ("done", "failed", "cancelled")
_ID = re.compile(r"[0-9a-f]{24}")
LEFT_S = 600.0  # longer than any upload takes to be copied
_HIDDEN = "."  # a folder that is being made or removed


def now() -> str:
    """This moment as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for; `window_s` and `hop_s` None leave it to the model."""

    id: str
    created: str
    name: str
    bytes: int
    model: str
    window_s: float | None
    hop_s: float | None
    margin: float
    top_k: int
    owner: str = ""  # id of the key that it came with

    def same_question(self, other: Asked) -> bool:
        """Whether `other` asks the same of a file of the same name and size."""
        return {**asdict(self), "id": "", "created": ""} == {**asdict(other), "id": "", "created": ""}


@dataclass(slots=True)
class Progress:
    """How far a job is, and what came of it; times as RFC 3339 in UTC."""

    state: State = "queued"
    started: str | None = None
    finished: str | None = None
    model_version: str | None = None
    percent: float = 0.0
    windows_done: int = 0
    windows: int | None = None
    eta_s: float | None = None
    tries: int = 0
    deaths: int = 0  # of workers alone, in the middle of it and at the same window
    falls: int = 0  # the same, together with whoever starts them again
    keeper: str = ""  # who that is, for the last try
    cache: Literal["hit", "miss"] | None = None
    error: dict[str, str] | None = None
    timing_s: dict[str, float] = field(default_factory=dict)
    media: dict[str, Any] | None = None
    timeline: dict[str, Any] | None = None


class Job:
    """A job's folder; it may be gone at any time, which reading tells by FileNotFoundError."""

    def __init__(self, path: Path) -> None:
        self.path, self.id = path, path.name

    @property
    def source(self) -> Path:
        return self.path / "source"

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    def asked(self) -> Asked:
        return Asked(**json.loads((self.path / "job.json").read_text()))

    def progress(self) -> Progress:
        try:
            return Progress(**json.loads((self.path / "state.json").read_text()))
        except FileNotFoundError:
            if not self.path.is_dir():
                raise
            return Progress()

    def save(self, progress: Progress, *, durable: bool = False) -> None:
        """Only for whoever holds the lock; `durable` returns when it is on the disk."""
        write_whole(self.path / "state.json", json.dumps(asdict(progress)).encode(), durable=durable)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Holds the lock for the block; False when somebody else has it, or the job is gone."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
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
        gone = self.path.with_name(f"{_HIDDEN}gone-{self.id}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            self.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


class Folder:
    """All jobs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def job(self, identity: str) -> Job | None:
        """The job of that id, if there is one."""
        if not _ID.fullmatch(identity) or not (self.path / identity).is_dir():
            return None
        return Job(self.path / identity)

    def jobs(self) -> list[Job]:
        """All jobs, in no order."""
        with os.scandir(self.path) as entries:
            return [Job(Path(entry.path)) for entry in entries if _ID.fullmatch(entry.name)]

    def add(self, asked: Asked, source: Path, offset: int, length: int) -> Job | None:
        """Makes a job of a file, or of `length` bytes of it from `offset` on; on the disk when this returns.

        None when there is a job of that id already. Raises OSError when the disk is full.
        """
        making = self.path / f"{_HIDDEN}new-{asked.id}-{secrets.token_hex(4)}"
        making.mkdir(mode=0o700)
        try:
            _take(source, offset, length, making / "source")
            (making / "lock").touch()
            (making / "pictures").mkdir()
            write_whole(making / "job.json", json.dumps(asdict(asked)).encode(), durable=True)
            try:
                making.rename(self.path / asked.id)  # fails where there is a folder that is not empty
            except OSError:
                if (self.path / asked.id).is_dir():
                    return None
                raise
            _fsync(self.path)
            return Job(self.path / asked.id)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def remove_left(self) -> None:
        """Removes what a killed process had begun to make or to remove LEFT_S ago."""
        for left in self.path.glob(f"{_HIDDEN}*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_ctime > LEFT_S:
                    shutil.rmtree(left, ignore_errors=True)


def identity(key: str | None, owner: str = "") -> str:
    """A job's id: of one owner's idempotency key always the same, else one that nobody can guess."""
    if not key:
        return secrets.token_hex(12)
    whose = f"{owner}\0" if owner else ""  # no idempotency key has such a character in it
    return hashlib.sha256(f"job:{whose}{key}".encode()).hexdigest()[:24]


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Readers see the old content or the new one; `durable` returns when the new one is on the disk."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    if durable:
        _fsync(path.parent)


def _take(source: Path, offset: int, length: int, target: Path) -> None:
    """A second name for the file where it is wanted whole, else a copy of the wanted bytes; on the disk."""
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
    _fsync(target)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
