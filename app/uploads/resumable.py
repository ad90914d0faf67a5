"""Resumable uploads on disk: a folder for each, which every process may continue.

<uploads>/<owner>/  lock                 held while an upload is created, so that the owner's limits hold
                    <id>/  info.json     length, metadata and time of creation; never changed
                           data          the bytes so far; its size is the offset
                           unchecked     the offset before a chunk whose checksum is not confirmed yet
                           lock          held while a request appends to the upload, uses it or removes it

Any process may be killed at any time. The offset is read from the file's size, so nothing else can disagree with it.
The kernel releases the locks of a killed process.
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.errors import StorageFull, TooManyRequests
from app.files import DamagedFile, file_lock, fsync_path, full_disk_errors, read_file, write_file
from app.nodes.ids import id_pattern, on_node
from app.settings import Settings
from app.uploads.errors import UploadIncomplete, UploadLocked, UploadNotFound

LOCK_WAIT_S = 2.0  # an interrupted request lets go of its upload within this time
LEFTOVER_AGE_S = 600.0
RETRY_AFTER_S = 30
MAX_INFO_BYTES = 64 << 10
EVERYBODY = "everybody"  # folder of the uploads of clients without keys
HIDDEN = "."  # prefix of folders that are being created or removed
_ID = re.compile(id_pattern(32))
_NOT_FOUND = "there is no such upload: it was used, has expired, or belongs to another key; start a new one"


class UploadLimits(NamedTuple):
    """Limits of one owner's unfinished uploads, the space to keep free, and the seconds that an idle upload is kept."""

    max_count: int
    max_bytes: int
    free_bytes: int
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """One upload: its folder, its whole length in bytes, and the client's `Upload-Metadata`."""

    path: Path
    length: int
    metadata: str

    @property
    def id(self) -> str:
        """Return the upload's id."""
        return self.path.name

    @property
    def data(self) -> Path:
        """Return the file with the bytes so far."""
        return self.path / "data"

    @property
    def offset(self) -> int:
        """Return how many bytes have arrived; raises UploadNotFound when the upload was removed."""
        size = self._status().st_size
        return min(size, self.length, self._confirmed(size))

    def _confirmed(self, size: int) -> int:
        """Return the offset before an unconfirmed chunk, else `size`."""
        try:
            return int(read_file(self.path / "unchecked", 64))
        except FileNotFoundError:
            return size
        except (DamagedFile, ValueError):
            return 0

    @property
    def last_written(self) -> float:
        """Return when the last byte arrived, seconds since the epoch; raises UploadNotFound."""
        return self._status().st_mtime

    def _status(self) -> os.stat_result:
        try:
            return self.data.stat()
        except FileNotFoundError:
            raise UploadNotFound(_NOT_FOUND) from None

    def mark_unchecked(self, offset: int) -> None:
        """Record that the bytes from `offset` on do not count until `mark_checked`."""
        write_file(self.path / "unchecked", str(offset).encode(), durable=True)

    def mark_checked(self) -> None:
        """Let all bytes count."""
        (self.path / "unchecked").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the upload; the caller holds its lock."""
        removed = self.path.with_name(f"{HIDDEN}gone-{self.id}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            self.path.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)


class ResumableStore:
    """All resumable uploads of a node, below `folder`."""

    def __init__(self, folder: Path, limits: UploadLimits, node: str = "") -> None:
        self._folder, self.limits, self._node = folder, limits, node

    def create(self, owner: str, length: int, metadata: str) -> ResumableUpload:
        """Create an empty upload.

        Raises:
            TooManyRequests: The owner has too many unfinished uploads, or they are too large together.
            StorageFull: The disk has no room for `length` bytes.
        """
        folder = self._owner_folder(owner)
        try:
            with full_disk_errors():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with file_lock(folder / "lock", LOCK_WAIT_S):
                    self._check_room(folder, length)
                    return _create(folder, on_node(self._node, secrets.token_hex(16)), length, metadata)
        except TimeoutError:
            raise UploadLocked("another upload is being created; please try again in a moment") from None

    def _check_room(self, folder: Path, length: int) -> None:
        limits, lengths = self.limits, [upload.length for upload in _uploads(folder)]
        if len(lengths) >= limits.max_count:
            raise TooManyRequests(
                f"there are {len(lengths)} unfinished uploads, the most allowed: finish, use or delete one of them",
                RETRY_AFTER_S,
            )
        if sum(lengths) + length > limits.max_bytes:
            raise TooManyRequests(
                f"unfinished uploads may have {limits.max_bytes >> 20} MiB together: finish, use or delete one of them",
                RETRY_AFTER_S,
            )
        if shutil.disk_usage(folder).free < length + limits.free_bytes:
            raise StorageFull

    def find(self, owner: str, identity: str) -> ResumableUpload:
        """Return the owner's upload of that id; raises UploadNotFound."""
        upload = _read(self._owner_folder(owner) / identity) if _ID.fullmatch(identity) else None
        if upload is None:
            raise UploadNotFound(_NOT_FOUND)
        return upload

    @contextmanager
    def locked(self, owner: str, identity: str) -> Iterator[ResumableUpload]:
        """Hold the lock of the owner's upload for the block.

        Raises:
            UploadNotFound: There is no such upload.
            UploadLocked: Another request holds it for longer than LOCK_WAIT_S.
        """
        upload = self.find(owner, identity)
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(upload.path / "lock", LOCK_WAIT_S))
            except TimeoutError:
                raise UploadLocked("another request is using this upload; please try again in a moment") from None
            except FileNotFoundError:
                raise UploadNotFound(_NOT_FOUND) from None
            yield self.find(owner, identity)  # again: it may have been removed meanwhile

    @contextmanager
    def use(self, owner: str, identity: str) -> Iterator[ResumableUpload]:
        """Hold a complete upload for the block and remove it at the end; after an exception it can be used again.

        Raises UploadIncomplete, or the errors of `locked`.
        """
        with self.locked(owner, identity) as upload:
            if (offset := upload.offset) < upload.length:
                raise UploadIncomplete(f"{offset} of {upload.length} bytes have arrived: send the rest first")
            yield upload
            upload.remove()

    def remove_expired(self) -> int:
        """Remove uploads that got no byte during their lifetime, and leftovers of killed processes; return how many."""
        removed = 0
        with suppress(FileNotFoundError), os.scandir(self._folder) as owners:
            for entry in owners:
                if entry.is_dir(follow_symlinks=False):
                    removed += self._remove_expired(Path(entry.path))
        return removed

    def _remove_expired(self, folder: Path) -> int:
        removed, now = 0, time.time()
        for path in _folders(folder):
            with suppress(FileNotFoundError):
                if path.name.startswith(HIDDEN) or not (path / "info.json").exists():
                    if now - path.stat().st_ctime > LEFTOVER_AGE_S:
                        shutil.rmtree(path, ignore_errors=True)
                        removed += 1
                elif now - (path / "data").stat().st_mtime > self.limits.lifetime_s:
                    removed += _remove_unlocked(path)
        return removed

    def _owner_folder(self, owner: str) -> Path:
        return self._folder / (owner or EVERYBODY)


def open_store(settings: Settings) -> ResumableStore:
    """Return the store of these settings."""
    limits = UploadLimits(
        settings.max_open_uploads,
        settings.open_uploads_gb << 30,
        settings.min_free_mb << 20,
        settings.upload_hours * 3600.0,
    )
    return ResumableStore(settings.resumable_dir, limits, settings.node)


def _create(folder: Path, identity: str, length: int, metadata: str) -> ResumableUpload:
    new = folder / f"{HIDDEN}new-{identity}"
    try:
        new.mkdir(mode=0o700)
        info = {"length": length, "metadata": metadata, "created": time.time()}
        (new / "data").touch(mode=0o600)
        write_file(new / "info.json", json.dumps(info).encode(), durable=True)
        new.rename(folder / identity)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    fsync_path(folder)
    return ResumableUpload(folder / identity, length, metadata)


def _read(path: Path) -> ResumableUpload | None:
    """Return the upload in a folder, None when it does not exist or is damaged."""
    try:
        info = json.loads(read_file(path / "info.json", MAX_INFO_BYTES))
        length, metadata = info["length"], info["metadata"]
    except (OSError, DamagedFile, ValueError, TypeError, KeyError, RecursionError):
        return None
    is_valid = isinstance(length, int) and length >= 0 and isinstance(metadata, str)
    return ResumableUpload(path, length, metadata) if is_valid else None


def _folders(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _uploads(folder: Path) -> list[ResumableUpload]:
    found = (_read(path) for path in _folders(folder) if not path.name.startswith(HIDDEN))
    return [upload for upload in found if upload is not None]


def _remove_unlocked(path: Path) -> bool:
    """Remove an upload unless a request holds it; return whether it was removed."""
    with suppress(TimeoutError), file_lock(path / "lock", 0.0):
        ResumableUpload(path, 0, "").remove()
        return True
    return False
