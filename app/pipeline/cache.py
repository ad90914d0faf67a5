"""Result cache: requests with the same bytes, model version and parameters are computed once.

<results>/<first two digits>/<key>.v2     SHA-256 of the result, a newline, the result; mtime is the time of last use
<results>/locks/<digits>                  locked while a result is computed, so that identical requests wait for it

Files are not fsynced: a result that is lost or damaged by a power loss is computed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EMFILE, ENFILE
from pathlib import Path

from app.damaged import set_aside
from app.files import DamagedFile, open_lock, read_file

LOCK_DIGITS = 3  # 4096 locks; different keys that share one merely wait
POLL_S = 0.01
FULL, SPARE = 1.0, 0.8  # high and low watermark of the eviction by least recent use
CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CacheEntry:
    """Entry of one key.

    Attributes:
        path: File of the entry.
        answer: The cached result; None on a miss.
        is_locked: Whether this caller holds the lock; False when an identical request is still computing the result.
        new_answer: The new result, which is written when the block ends.
    """

    path: Path
    answer: bytes | None
    is_locked: bool
    new_answer: bytes | None = None

    def keep(self, answer: bytes) -> None:
        """Set the result to write to the cache when the block ends."""
        self.new_answer = answer


class ResultCache:
    """Cache of at most about `most_bytes` in the folder `path`; 0 stores nothing."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._added = most_bytes  # unknown size: measure it after the first write

    @property
    def on(self) -> bool:
        """Whether the cache is enabled."""
        return self._most_bytes > 0

    @contextmanager
    def entry(self, key: str, patience_s: float) -> Iterator[CacheEntry]:
        """Yield the entry of `key`; wait up to `patience_s` seconds for an identical request that is computing it."""
        path = self._path / key[:2] / f"{key}.v2"
        if (answer := self._read(path)) is not None:
            yield CacheEntry(path, answer, is_locked=True)
            return
        locks = self._path / "locks"
        with closing_descriptor(self._open_lock(locks / key[:LOCK_DIGITS])) as descriptor:
            is_locked = descriptor is None or _lock(descriptor, patience_s)
            entry = CacheEntry(path, self._read(path), is_locked)
            yield entry
            if entry.new_answer is not None:
                self._write(path, entry.new_answer)

    def _open_lock(self, path: Path) -> int | None:
        """Return the descriptor of a lock; None on failure, in which case identical requests are computed twice."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return open_lock(path)
        except OSError as error:
            if error.errno in (EMFILE, ENFILE):
                raise
            log.warning("answers cannot be locked: %s", error)
            return None

    def _read(self, path: Path) -> bytes | None:
        try:
            digest, _, answer = read_file(path).partition(b"\n")
            if hashlib.sha256(answer).hexdigest().encode() != digest:
                raise DamagedFile("it is not what was written")
            os.utime(path)
            return answer
        except DamagedFile as error:
            set_aside(path, self._path.parent, "result", error)
            return None
        except OSError:
            return None

    def _write(self, path: Path, answer: bytes) -> None:
        fresh = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_bytes(hashlib.sha256(answer).hexdigest().encode() + b"\n" + answer)
            fresh.replace(path)
        except OSError as error:  # the result is valid without the cache
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            log.warning("an answer could not be kept: %s", error)
            return
        self._added += len(answer)
        if self._added > self._most_bytes * (FULL - SPARE):
            self._added = 0
            self.evict()

    def evict(self) -> None:
        """Evict the least recently used results when the cache is over its limit."""
        entries = []
        for path in self._path.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                entries.append((path.stat().st_mtime, path.stat().st_size, path))
        size = sum(size for _, size, _ in entries)
        if size <= self._most_bytes * FULL:
            return
        for _, length, path in sorted(entries):
            with suppress(OSError):  # for example, a folder
                path.unlink(missing_ok=True)
            size -= length
            if size <= self._most_bytes * SPARE:
                break


def key(digest: str, *parts: object) -> str:
    """Return the cache key for a file with `digest` and the request's `parts`; equal inputs give equal keys."""
    text = "\0".join([digest, *map(repr, parts)])
    return hashlib.sha256(text.encode()).hexdigest()


def digest(path: str | Path, offset: int, length: int) -> str:
    """Return the SHA-256, in hex, of `length` bytes of a file from `offset` on. Raises OSError when it is gone."""
    sha = hashlib.sha256()
    with Path(path).open("rb") as file:
        file.seek(offset)
        while length and (chunk := file.read(min(CHUNK_BYTES, length))):
            sha.update(chunk)
            length -= len(chunk)
    return sha.hexdigest()


@contextmanager
def closing_descriptor(descriptor: int | None) -> Iterator[int | None]:
    """Close the descriptor, if there is one, after the block."""
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
