"""What a job has found so far, appended window by window: where it goes on after a crash.

One file: a line of JSON that says which model and grid it is for, then records of one size. A record that was cut
off by a crash is dropped when the journal is opened again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.files import DamagedFile, open_file, read_file, write_file

WINDOW, CUT = 0, 1
HEAD_BYTES = 4096
READ_BYTES = 256 << 10  # of a journal that is read piece by piece
MAX_CLASSES = 1 << 20
MAX_BYTES = 8 << 30


def _record(classes: int) -> np.dtype[Any]:
    """`index` of a window, or `time_s` of a cut; `scores` of a window, float32 (classes,)."""
    return np.dtype(
        [("kind", "u1"), ("padded", "u1"), ("index", "<u4"), ("time_s", "<f8"), ("scores", "<f4", (classes,))]
    )


class Journal:
    """An open journal, to which its one writer appends."""

    def __init__(self, path: Path, about: Mapping[str, Any], classes: int) -> None:
        """Go on with the journal at `path` if it is `about` the same and whole, else begin it anew.

        A file that another job has too, by a second name, is never changed: this job gets its own.
        """
        head = json.dumps({**about, "classes": classes}).encode().ljust(HEAD_BYTES - 1) + b"\n"
        if len(head) > HEAD_BYTES:
            raise ValueError("the journal's head is too long")
        self._type = _record(classes)
        kept = _kept(path, head, self._type)
        _make_own(path, head, self._type, keep=kept is not None)
        self.found = kept or JournalContents.nothing(classes)
        self._file = path.open("ab", buffering=0)  # what a full disk did not take is not tried again at the end

    def window(self, index: int, padded: bool, scores: NDArray[np.float32]) -> None:
        """The next window's scores, float32 (classes,)."""
        self._append(WINDOW, index, padded, 0.0, scores)

    def cut(self, time_s: float) -> None:
        self._append(CUT, 0, False, time_s, 0.0)

    def _append(self, kind: int, index: int, padded: bool, time_s: float, scores: NDArray[np.float32] | float) -> None:
        entry = np.zeros((), self._type)
        entry["kind"], entry["padded"], entry["index"], entry["time_s"] = kind, padded, index, time_s
        entry["scores"] = scores
        record = entry.tobytes()
        if self._file.write(record) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """All that was appended is on the disk when this returns."""
        os.fsync(self._file.fileno())
        self._file.close()


class JournalContents:
    """What a journal holds: `scores` float32 (windows, classes), `padded` bool (windows,), `cuts_s` rising."""

    def __init__(self, scores: NDArray[np.float32], padded: NDArray[np.bool_], cuts_s: list[float]) -> None:
        self.scores, self.padded, self.cuts_s = scores, padded, cuts_s

    @classmethod
    def nothing(cls, classes: int) -> JournalContents:
        return cls(np.empty((0, classes), np.float32), np.empty(0, np.bool_), [])


def read(path: Path) -> JournalContents:
    """Return what the journal at `path` holds now; it may be written to at the same time.

    Raises:
        FileNotFoundError: There is none.
        DamagedFile: It is no journal, or windows are missing in it.
    """
    content = read_file(path, MAX_BYTES)
    return _found(path, content, _record(_classes(path, content[:HEAD_BYTES])))


class WindowScores(NamedTuple):
    """Windows from number `first` on: `scores` float32 (windows, classes), `padded` bool (windows,)."""

    first: int
    scores: NDArray[np.float32]
    padded: NDArray[np.bool_]


def read_windows(path: Path, first: int, count: int, most: int) -> Iterator[WindowScores]:
    """Yield windows `first` to `first + count` of the journal at `path`, at most `most` at a time.

    It may be written to, or truncated, at the same time: then there are fewer. Raises as `read` does.
    """
    with open_file(path) as file:
        kind = _record(_classes(path, file.read(HEAD_BYTES)))
        piece_bytes = max(1, min(most, READ_BYTES // kind.itemsize)) * kind.itemsize
        file.seek(HEAD_BYTES + first * kind.itemsize)  # cuts lie between windows, so it is here or later
        number, end = first, first + count
        while number < end and (content := file.read(piece_bytes)):
            entries = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
            entries = entries[(entries["kind"] == WINDOW) & (entries["index"] >= first)][: end - number]
            if not np.array_equal(entries["index"], np.arange(number, number + len(entries))):
                raise DamagedFile(f"{path}: its windows are not one after the other")
            if not np.isfinite(entries["scores"]).all():
                raise DamagedFile(f"{path}: a score is no number")
            if len(entries):
                yield WindowScores(number, entries["scores"].astype(np.float32), entries["padded"].astype(np.bool_))
                number += len(entries)


def _classes(path: Path, head: bytes) -> int:
    try:
        classes = json.loads(head)["classes"]
        if not isinstance(classes, int) or not 0 < classes <= MAX_CLASSES:
            raise ValueError(f"{str(classes)[:50]} classes")
        return classes
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{path} is no journal: {str(error)[:200]}") from error


def _found(path: Path, content: bytes, kind: np.dtype[Any]) -> JournalContents:
    entries = np.frombuffer(content, kind, max(0, len(content) - HEAD_BYTES) // kind.itemsize, HEAD_BYTES)
    windows = entries[entries["kind"] == WINDOW]
    if not np.array_equal(windows["index"], np.arange(len(windows))):
        raise DamagedFile(f"{path}: its windows are not one after the other")
    if not np.isfinite(windows["scores"]).all():
        raise DamagedFile(f"{path}: a score is no number")
    cuts = sorted(set(entries["time_s"][entries["kind"] == CUT].tolist()))
    return JournalContents(windows["scores"].astype(np.float32), windows["padded"].astype(np.bool_), cuts)


def _kept(path: Path, head: bytes, kind: np.dtype[Any]) -> JournalContents | None:
    """Return what to go on with, if the journal has that head and is whole."""
    with suppress(FileNotFoundError, DamagedFile):
        content = read_file(path, MAX_BYTES)
        if content[:HEAD_BYTES] == head:
            return _found(path, content, kind)
    return None


def _make_own(path: Path, head: bytes, kind: np.dtype[Any], *, keep: bool) -> None:
    """Leave a journal at `path` that is this job's alone, without the part of a record at its end."""
    if keep and path.stat().st_nlink == 1:
        size = path.stat().st_size
        os.truncate(path, HEAD_BYTES + (size - HEAD_BYTES) // kind.itemsize * kind.itemsize)
        return
    content = read_file(path, MAX_BYTES) if keep else head
    whole = HEAD_BYTES + (len(content) - HEAD_BYTES) // kind.itemsize * kind.itemsize
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    write_file(path, content[:whole])
