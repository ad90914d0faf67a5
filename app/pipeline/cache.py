"""Result cache: requests with the same bytes, model version and parameters are computed once.

<results>/<first two digits>/<key>.v2     SHA-256 of the result, a newline, the result; mtime is the time of last use
<results>/locks/<digits>                  locked while a result is computed, so that identical requests wait for it

Files are not fsynced: a result that is lost or damaged by a power loss is computed again.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EMFILE, ENFILE
from pathlib import Path

from app.damaged import set_aside
from app.files import DamagedFile, file_lock, read_file, write_file

LOCK_DIGITS = 3  # 4096 locks; different keys that share one merely wait
FULL, SPARE = 1.0, 0.8  # high and low watermark of the eviction by least recent use
CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CacheEntry:
    """Entry of one key.

    Attributes:
        answer: The cached result; None on a miss.
        is_locked: Whether this caller holds the lock; False when an identical request is still computing the result.
        new_answer: The new result, which is written when the block ends.
    """

    answer: bytes | None
    is_locked: bool
    new_answer: bytes | None = None


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
            yield CacheEntry(answer, is_locked=True)
            return
        with ExitStack() as held:
            is_locked = self._lock(held, self._path / "locks" / key[:LOCK_DIGITS], patience_s)
            entry = CacheEntry(self._read(path), is_locked)
            yield entry
            if entry.new_answer is not None:
                self._write(path, entry.new_answer)

    def _lock(self, held: ExitStack, path: Path, patience_s: float) -> bool:
        """Hold a lock; return False if an identical request has it for longer than `patience_s` seconds.

        If locks fail, identical requests are computed twice.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            held.enter_context(file_lock(path, patience_s))
        except TimeoutError:
            return False
        except OSError as error:
            if error.errno in (EMFILE, ENFILE):
                raise
            log.warning("answers cannot be locked: %s", error)
        return True

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
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(path, hashlib.sha256(answer).hexdigest().encode() + b"\n" + answer)
        except OSError as error:  # the result is valid without the cache
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
