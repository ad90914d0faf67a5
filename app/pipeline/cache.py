"""Answers kept by what was asked: the same bytes, model version and parameters are looked at once.

<results>/<first two digits>/<key>.v2     SHA-256 of the answer, a line end, the answer; its time is that of its use
<results>/locks/<digits>                  held by whoever is finding an answer, so that twins wait for it

Nothing is fsynced: an answer that a power loss takes or damages is found again.
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

LOCK_DIGITS = 3  # 4096 locks: two different questions seldom share one, and then only wait
POLL_S = 0.01
FULL, SPARE = 1.0, 0.8  # beyond the one the least recently used answers go, until the other is reached
CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CacheEntry:
    """One question: its `answer`, if it is known. `mine` says that no twin is finding it at the same time."""

    path: Path
    answer: bytes | None
    mine: bool
    found: bytes | None = None

    def keep(self, answer: bytes) -> None:
        """Remembers what was found when the question is left."""
        self.found = answer


class ResultCache:
    """At most about `most_bytes` of answers in `path`; with 0 nothing is kept and nothing is found."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._added = most_bytes  # unknown how many there are: count them at the first chance

    @property
    def on(self) -> bool:
        return self._most_bytes > 0

    @contextmanager
    def question(self, key: str, patience_s: float) -> Iterator[CacheEntry]:
        """The entry of `key`, for the block; waits up to `patience_s` for a twin that is finding the answer."""
        path = self._path / key[:2] / f"{key}.v2"
        if (answer := self._read(path)) is not None:
            yield CacheEntry(path, answer, mine=True)
            return
        locks = self._path / "locks"
        with closing_descriptor(self._open_lock(locks / key[:LOCK_DIGITS])) as descriptor:
            mine = descriptor is None or _lock(descriptor, patience_s)
            entry = CacheEntry(path, self._read(path), mine)
            yield entry
            if entry.found is not None:
                self._write(path, entry.found)

    def _open_lock(self, path: Path) -> int | None:
        """Return a lock's descriptor; None where it cannot be had, and twins are then looked at twice."""
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
        except OSError as error:  # the answer is good all the same
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            log.warning("an answer could not be kept: %s", error)
            return
        self._added += len(answer)
        if self._added > self._most_bytes * (FULL - SPARE):
            self._added = 0
            self.tidy()

    def tidy(self) -> None:
        """Removes the answers least recently of use, if there are too many."""
        known = []
        for path in self._path.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                known.append((path.stat().st_mtime, path.stat().st_size, path))
        size = sum(size for _, size, _ in known)
        if size <= self._most_bytes * FULL:
            return
        for _, length, path in sorted(known):
            with suppress(OSError):  # a folder, for one
                path.unlink(missing_ok=True)
            size -= length
            if size <= self._most_bytes * SPARE:
                break


def key(digest: str, *parts: object) -> str:
    """The key of a question about the file with that `digest`; equal parts give equal keys."""
    told = "\0".join([digest, *map(repr, parts)])
    return hashlib.sha256(told.encode()).hexdigest()


def digest(path: str | Path, offset: int, length: int) -> str:
    """SHA-256 of `length` bytes of a file from `offset` on; raises OSError when it is gone."""
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(offset)
        while length and (chunk := file.read(min(CHUNK_BYTES, length))):
            sha.update(chunk)
            length -= len(chunk)
    return sha.hexdigest()


@contextmanager
def closing_descriptor(descriptor: int | None) -> Iterator[int | None]:
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
