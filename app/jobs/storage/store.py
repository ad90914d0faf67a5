"""Job folders: each is created complete, locked by the process that uses it, and removed in one step.

<jobs>/<id>/  job.json     the job's parameters, never changed
              source       the uploaded file, or the downloaded one; source.part while it is downloaded
              state.json   progress and result, replaced atomically
              journal      results so far (`app/jobs/storage/journal.py`)
              vectors      coarse vectors of all windows (`app/jobs/storage/vectors.py`), if embeddings are kept
              pictures/    small JPEGs of some windows
              cancel       exists once cancellation is requested
              lock         locked while a process works on the job

The folders are authoritative. `app/jobs/storage/index.py` repeats their data, so that queries need not read them all.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from app.errors import Unavailable
from app.files import DamagedFile, disk_usage, is_locked, open_lock, read_file, try_lock, write_file
from app.jobs.storage.index import JobIndex, Row
from app.jobs.storage.new_job import HIDDEN, NewJob
from app.jobs.storage.records import FINISHED, DamagedRecord, JobSpec, JobState, State, parse
from app.jobs.webhooks.events import Message, messages, record_events
from app.jobs.webhooks.outbox import Outbox
from app.nodes.ids import id_pattern, on_node

_ID = re.compile(id_pattern(24))
MAX_SPEC_BYTES = 1 << 20


def now() -> str:
    """Return the current time as RFC 3339 in UTC, with milliseconds."""
    return rfc3339(datetime.now(UTC))


def rfc3339(time: datetime) -> str:
    """Return a time in UTC as RFC 3339, in milliseconds."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Job:
    """Folder of one job, which may be removed at any time; reads then raise FileNotFoundError.

    Saving and removing also update `index` and `outbox`, if there are any.
    """

    def __init__(self, path: Path, index: JobIndex | None = None, outbox: Outbox | None = None) -> None:
        self.path, self.id, self.data_dir = path, path.name, path.parent.parent
        self.source, self.journal, self.pictures = path / "source", path / "journal", path / "pictures"
        self.vectors = path / "vectors"
        self._index, self._outbox = index, outbox
        self._saved: State | None = None
        self._reported: JobSpec | None = None  # the spec, if the job has webhooks
        self._is_read = False  # whether `_reported` is known
        self._published = 0  # events that this object has copied to the outbox

    def spec(self) -> JobSpec:
        """Return the job's parameters.

        Raises:
            FileNotFoundError: The job was removed.
            DamagedRecord: The record cannot be used.
        """
        try:
            spec = parse(JobSpec, read_file(self.path / "job.json", MAX_SPEC_BYTES))
        except FileNotFoundError:
            if os.path.lexists(self.path):
                raise DamagedRecord("job.json is missing") from None
            raise
        except DamagedFile as error:
            raise DamagedRecord(f"job.json: {error}") from error
        if spec.id != self.id:
            raise DamagedRecord(f"job.json is that of job {spec.id[:50]!r}")
        return spec

    def state(self) -> JobState:
        """Return the job's state; raises the errors of `spec`."""
        try:
            return parse(JobState, read_file(self.path / "state.json"))
        except FileNotFoundError:
            if not self.path.is_dir():
                raise
            return JobState()
        except DamagedFile as error:
            raise DamagedRecord(f"state.json: {error}") from error

    def row(self) -> Row:
        """Return the job's index row; raises the errors of `spec`."""
        spec, state = self.spec(), self.state()
        return Row(self.id, spec.owner, spec.created, state.state, self._since(state), disk_usage(self.path))

    def _since(self, state: JobState) -> float:
        if state.state in FINISHED and state.finished:
            return datetime.fromisoformat(state.finished).timestamp()
        return self.last_saved()

    def last_saved(self) -> float:
        """Return when the state was last written, in seconds since the epoch; raise FileNotFoundError."""
        with suppress(FileNotFoundError):
            return (self.path / "state.json").stat().st_mtime
        return (self.path / "job.json").stat().st_mtime

    def save(self, state: JobState, *, durable: bool = False) -> None:
        """Write the state with the events that it reaches; the caller holds the lock. `durable` fsyncs it."""
        spec = self._spec_with_webhooks()
        if spec is not None:
            record_events(state, now())
        write_file(self.path / "state.json", json.dumps(asdict(state)).encode(), durable=durable)
        if spec is not None and not self._publish(spec, state):
            return
        if self._index is not None and state.state != self._saved:
            self._saved = state.state
            with suppress(Unavailable, FileNotFoundError):  # reconciliation updates the index later
                self._index.set_state(self.id, state.state, self._since(state), disk_usage(self.path))

    def publish_events(self) -> None:
        """Copy the events of the job to the outbox, before the index learns of its state; raises Unavailable."""
        spec = self._spec_with_webhooks()
        if spec is not None and self._outbox is not None:
            with suppress(FileNotFoundError, DamagedRecord):
                self._outbox.add(messages(spec, self.state()))

    def _publish(self, spec: JobSpec, state: JobState) -> bool:
        """Copy new events to the outbox; if it returns False, reconciliation repeats this and updates the index."""
        if self._outbox is None or self._published == len(state.events):
            return True
        try:
            self._outbox.add(messages(spec, state))
        except Unavailable:
            return False
        self._published = len(state.events)
        return True

    def _spec_with_webhooks(self) -> JobSpec | None:
        """Return the job's parameters if it has a callback URL, otherwise None."""
        if not self._is_read:
            with suppress(FileNotFoundError, DamagedRecord):
                spec = self.spec()
                self._reported, self._is_read = spec if spec.callback_url else None, True
        return self._reported

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock for the block; yield False when another process holds it or the job is gone."""
        try:
            descriptor = open_lock(self.path / "lock")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            yield False
            return
        try:
            yield try_lock(descriptor) and self._is_current(descriptor)
        finally:
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Return whether the lock is still this job's: a new job of the same id may have replaced it."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.path / "lock").stat())
        except FileNotFoundError:
            return False

    def request_cancel(self) -> None:
        """Request cancellation."""
        with suppress(FileNotFoundError):
            (self.path / "cancel").touch()

    def cancel_requested(self) -> bool:
        """Return whether cancellation was requested or the job was removed."""
        return (self.path / "cancel").exists() or not self.path.exists()

    def remove(self) -> None:
        """Remove the job; the caller holds the lock. Raises Unavailable if its last events cannot be kept."""
        if self._index is not None and self._spec_with_webhooks() and self._index.state(self.id) not in FINISHED:
            self.publish_events()
        removed = self.path.with_name(f"{HIDDEN}gone-{self.id}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            self.path.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)
        if self._index is not None:
            with suppress(Unavailable):
                self._index.remove(self.id)


class JobStore:
    """All job folders, and their index."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = JobIndex(path.parent, self._rows)
        self.outbox = Outbox(path.parent, self._messages)

    def close(self) -> None:
        """Close the index and the outbox."""
        self.index.close()
        self.outbox.close()

    def job(self, job_id: str) -> Job | None:
        """Return the job of that id, or None."""
        if not _ID.fullmatch(job_id) or not (self.path / job_id).is_dir():
            return None
        return self.open(job_id)

    def open(self, job_id: str) -> Job:
        """Return the job of that id, whether or not its folder exists."""
        return Job(self.path / job_id, self.index, self.outbox)

    def names(self, *, folders: bool = True) -> set[str]:
        """Return the ids of all job folders, or with `folders=False` those of entries that are not folders."""
        with os.scandir(self.path) as entries:
            return {entry.name for entry in entries if _ID.fullmatch(entry.name) and entry.is_dir() == folders}

    def jobs(self) -> Iterator[Job]:
        """Yield all jobs in no particular order; lists all folder names."""
        return (self.open(name) for name in self.names())

    def _rows(self) -> Iterator[Row]:
        for job in self.jobs():
            with suppress(FileNotFoundError, DamagedRecord):  # reconciliation sets damaged jobs aside
                yield job.row()

    def _messages(self) -> Iterator[Message]:
        """Yield the events of all jobs; none while there is no folder of jobs."""
        with suppress(FileNotFoundError):
            for job in self.jobs():
                with suppress(FileNotFoundError, DamagedRecord):
                    if (spec := job.spec()).callback_url:
                        yield from messages(spec, job.state())

    def new(self, job_id: str) -> NewJob:
        """Return the context manager that creates a job."""
        return NewJob(self.path / job_id)

    def register(self, job_id: str) -> Job:
        """Return a job that was just created, after adding it to the index."""
        job = self.open(job_id)
        with suppress(Unavailable, FileNotFoundError, DamagedRecord):  # reconciliation adds it later
            self.index.put(job.row())
        return job

    def is_being_created(self, job_id: str) -> bool:
        """Return whether a process is creating the job of that id now."""
        return any(is_locked(path / "lock") for path in self.path.glob(f"{HIDDEN}new-{job_id}-*"))


def job_id(key: str | None, owner: str = "", node: str = "") -> str:
    """Return a job's id on a node: derived from the owner's idempotency key if there is one, otherwise random."""
    if not key:
        return on_node(node, secrets.token_hex(12))
    prefix = f"{owner}\0" if owner else ""  # an idempotency key cannot contain NUL
    return on_node(node, hashlib.sha256(f"job:{prefix}{key}".encode()).hexdigest()[:24])
