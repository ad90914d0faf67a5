"""What a job has found so far, appended window by window: where it goes on after a crash.

One file: a line of JSON that says which model and grid it is for, then records of one size. A record that was cut
off by a crash is dropped when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW, CUT = 0, 1
HEAD_BYTES = 4096
READ_BYTES = 256 << 10  # of a journal that is read piece by piece


def _record(classes: int) -> np.dtype[Any]:
    """`index` of a window, or `time_s` of a cut; `scores` of a window, float32 (classes,)."""
    return np.dtype(
        [("kind", "u1"), ("padded", "u1"), ("index", "<u4"), ("time_s", "<f8"), ("scores", "<f4", (classes,))]
    )


class Journal:
    """An open journal, to which its one writer appends."""

    def __init__(self, path: Path, about: Mapping[str, Any], classes: int) -> None:
        """Goes on with the journal at `path` if it is `about` the same, else begins it anew."""
        head = json.dumps({**about, "classes": classes}).encode().ljust(HEAD_BYTES - 1) + b"\n"
        if len(head) > HEAD_BYTES:
            raise ValueError("the journal's head is too long")
        self._type = _record(classes)
        self._file = path.open("a+b")
        self._file.seek(0)
        if self._file.read(HEAD_BYTES) != head:
            self._file.truncate(0)
            self._file.write(head)
        self._file.flush()
        size = os.fstat(self._file.fileno()).st_size
        self._file.truncate(HEAD_BYTES + (size - HEAD_BYTES) // self._type.itemsize * self._type.itemsize)
        self.found = read(path)

    def window(self, index: int, padded: bool, scores: NDArray[np.float32]) -> None:
        """The next window's scores, float32 (classes,)."""
        self._append(WINDOW, index, padded, 0.0, scores)

    def cut(self, time_s: float) -> None:
        self._append(CUT, 0, False, time_s, 0.0)

    def _append(self, kind: int, index: int, padded: bool, time_s: float, scores: NDArray[np.float32] | float) -> None:
        entry = np.zeros((), self._type)
        entry["kind"], entry["padded"], entry["index"], entry["time_s"] = kind, padded, index, time_s
        entry["scores"] = scores
        self._file.write(entry.tobytes())
        self._file.flush()

    def close(self) -> None:
        """All that was appended is on the disk when this returns."""
        os.fsync(self._file.fileno())
        self._file.close()


class Found:
    """What a journal holds: `scores` float32 (windows, classes), `padded` bool (windows,), `cuts_s` rising."""

    def __init__(self, scores: NDArray[np.float32], padded: NDArray[np.bool_], cuts_s: list[float]) -> None:
        self.scores, self.padded, self.cuts_s = scores, padded, cuts_s


def read(path: Path) -> Found:
    """What the journal at `path` holds now; it may be written to at the same time. Raises FileNotFoundError."""
    with path.open("rb") as file:
        classes = int(json.loads(file.read(HEAD_BYTES))["classes"])
        kind = _record(classes)
        content = file.read()
    entries = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
    windows = entries[entries["kind"] == WINDOW]
    if not np.array_equal(windows["index"], np.arange(len(windows))):
        raise ValueError("the journal's windows are not one after the other")
    cuts = sorted(set(entries["time_s"][entries["kind"] == CUT].tolist()))
    return Found(windows["scores"].astype(np.float32), windows["padded"].astype(np.bool_), cuts)


class WindowScores(NamedTuple):
    """Windows from number `first` on: `scores` float32 (windows, classes), `padded` bool (windows,)."""

    first: int
    scores: NDArray[np.float32]
    padded: NDArray[np.bool_]


def read_windows(path: Path, first: int, count: int, most: int) -> Iterator[WindowScores]:
    """Yield windows `first` to `first + count` of the journal at `path`, at most `most` at a time.

    It may be written to, or truncated, at the same time: then there are fewer. Raises FileNotFoundError, and ValueError
    when a window is missing.
    """
    with path.open("rb") as file:
        kind = _record(int(json.loads(file.read(HEAD_BYTES))["classes"]))
        piece_bytes = max(1, min(most, READ_BYTES // kind.itemsize)) * kind.itemsize
        file.seek(HEAD_BYTES + first * kind.itemsize)  # cuts lie between windows, so it is here or later
        number, end = first, first + count
        while number < end and (content := file.read(piece_bytes)):
            entries = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
            entries = entries[(entries["kind"] == WINDOW) & (entries["index"] >= first)][: end - number]
            if not np.array_equal(entries["index"], np.arange(number, number + len(entries))):
                raise ValueError("the journal's windows are not one after the other")
            if len(entries):
                yield WindowScores(number, entries["scores"].astype(np.float32), entries["padded"].astype(np.bool_))
                number += len(entries)
