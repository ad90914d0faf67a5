"""Journal of a job: its results, appended window by window, from which it resumes after a crash.

The file is a line of JSON with the model and grid, padded to HEAD_BYTES, followed by records of one size. Opening a
journal drops a record that a crash cut off.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.files import DamagedFile, open_file, read_file, write_file

WINDOW, CUT = 0, 1
HEAD_BYTES = 4096
READ_BYTES = 256 << 10  # block size for reading a journal in parts
MAX_CLASSES = 1 << 20
MAX_EMBEDDING = 1 << 16
MAX_BYTES = 8 << 30


def record_type(classes: int, embedding_size: int = 0) -> np.dtype[Any]:
    """Return the dtype of a record: a window with its scores, and its embedding if they are kept, or a cut."""
    fields: list[Any] = [("kind", "u1"), ("padded", "u1"), ("index", "<u4"), ("time_s", "<f8")]
    fields.append(("scores", "<f4", (classes,)))
    return np.dtype([*fields, ("embedding", "<f2", (embedding_size,))] if embedding_size else fields)


class Journal:
    """Open journal with one writer."""

    def __init__(self, path: Path, header: Mapping[str, Any], classes: int, embedding_size: int = 0) -> None:
        """Resume the intact journal at `path` if it has the same `header`, otherwise start a new one.

        With an `embedding_size` it keeps the embedding of each window.
        """
        kept = {"embedding_size": embedding_size} if embedding_size else {}
        head = json.dumps({**header, "classes": classes, **kept}).encode().ljust(HEAD_BYTES - 1) + b"\n"
        if len(head) > HEAD_BYTES:
            raise ValueError("the journal's head is too long")
        self._type = record_type(classes, embedding_size)
        contents = _resume(path, head, self._type)
        self.contents = contents or JournalContents(np.empty((0, classes), np.float32), np.empty(0, np.bool_), [])
        self._file = path.open("ab", buffering=0)  # unbuffered: what a full disk rejects is not retried on close

    def append_window(
        self, index: int, padded: bool, scores: NDArray[np.float32], embedding: NDArray[np.float32] | None = None
    ) -> None:
        """Append the scores of the next window, float32 (classes,), and its embedding, if embeddings are kept."""
        entry = np.zeros((), self._type)
        entry["kind"], entry["padded"], entry["index"], entry["scores"] = WINDOW, padded, index, scores
        if embedding is not None:
            entry["embedding"] = embedding
        self._append(entry)

    def append_cut(self, time_s: float) -> None:
        """Append a cut at `time_s` seconds."""
        entry = np.zeros((), self._type)
        entry["kind"], entry["time_s"] = CUT, time_s
        self._append(entry)

    def _append(self, entry: NDArray[Any]) -> None:
        record = entry.tobytes()
        if self._file.write(record) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Flush everything that was appended to the disk and close the file."""
        os.fsync(self._file.fileno())
        self._file.close()


class JournalContents(NamedTuple):
    """Contents of a journal: `scores` float32 (windows, classes), `padded` bool (windows,), `cuts_s` rising seconds."""

    scores: NDArray[np.float32]
    padded: NDArray[np.bool_]
    cuts_s: list[float]


def read(path: Path) -> JournalContents:
    """Return the current contents of the journal at `path`; a writer may append at the same time.

    Raises:
        FileNotFoundError: There is no journal.
        DamagedFile: The file is not a journal, or windows are missing.
    """
    content = read_file(path, MAX_BYTES)
    return _parse(path, content, read_head(path, content[:HEAD_BYTES]).record_type)


class WindowScores(NamedTuple):
    """Consecutive windows from number `first`."""

    first: int
    scores: NDArray[np.float32]  # (windows, classes)
    padded: NDArray[np.bool_]  # (windows,)
    embeddings: NDArray[np.float16]  # (windows, size), where the size is 0 if none are kept
    records: NDArray[np.uint32]  # (windows,), numbers of their records


def read_windows(path: Path, first: int, count: int, max_count: int) -> Iterator[WindowScores]:
    """Yield `count` windows from number `first`, fewer if there are no more, at most `max_count` at a time.

    Raises the errors of `read`.
    """
    with open_file(path) as file:
        kind = read_head(path, file.read(HEAD_BYTES)).record_type
        chunk_bytes = max(1, min(max_count, READ_BYTES // kind.itemsize)) * kind.itemsize
        file.seek(HEAD_BYTES + first * kind.itemsize)  # cuts lie between windows, so it is here or later
        number, end, record = first, first + count, first
        while number < end and (content := file.read(chunk_bytes)):
            entries = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
            selected = np.flatnonzero((entries["kind"] == WINDOW) & (entries["index"] >= first))[: end - number]
            records, record = selected.astype(np.uint32) + np.uint32(record), record + len(entries)
            entries = entries[selected]
            _check_windows(path, entries, number)
            if len(entries):
                kept = entries["embedding"] if "embedding" in (kind.names or ()) else np.empty((len(entries), 0))
                scores, padded = entries["scores"].astype(np.float32), entries["padded"].astype(np.bool_)
                yield WindowScores(number, scores, padded, kept.astype(np.float16), records)
                number += len(entries)


def read_records(path: Path, kind: np.dtype[Any], numbers: Sequence[int]) -> NDArray[Any]:
    """Return the records with these numbers; `kind` is the journal's `record_type`. Raises the errors of `read`."""
    with open_file(path) as file:
        size, descriptor = kind.itemsize, file.fileno()
        content = b"".join(os.pread(descriptor, size, HEAD_BYTES + number * size) for number in numbers)
        if len(content) != size * len(numbers):
            raise DamagedFile(f"{path} is cut off")
        return np.frombuffer(content, kind)


class Head(NamedTuple):
    """Head of a journal."""

    classes: int  # number of scores of a window
    embedding_size: int  # 0 if none are kept
    space: str  # of the embeddings: only those of one space can be compared
    grid: tuple[int, float, float]  # frames of a window, seconds from frame to frame, and from window to window

    @property
    def record_type(self) -> np.dtype[Any]:
        """Return the dtype of the records."""
        return record_type(self.classes, self.embedding_size)


def read_head(path: Path, content: bytes) -> Head:
    """Return the head in the first HEAD_BYTES of the journal at `path`; raise DamagedFile if there is none."""
    try:
        values = json.loads(content)
        frames, step_s, hop_s = values.get("grid", (1, 0.0, 1.0))
        grid = int(frames), float(step_s), float(hop_s)
        head = Head(values["classes"], values.get("embedding_size", 0), str(values.get("space", "")), grid)
        if not isinstance(head.classes, int) or not 0 < head.classes <= MAX_CLASSES:
            raise ValueError(f"{str(head.classes)[:50]} classes")
        if not isinstance(head.embedding_size, int) or not 0 <= head.embedding_size <= MAX_EMBEDDING:
            raise ValueError(f"embeddings of {str(head.embedding_size)[:50]} numbers")
        return head
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"{path} is not a journal: {str(error)[:200]}") from error


def _parse(path: Path, content: bytes, kind: np.dtype[Any]) -> JournalContents:
    entries = np.frombuffer(content, kind, max(0, len(content) - HEAD_BYTES) // kind.itemsize, HEAD_BYTES)
    windows = entries[entries["kind"] == WINDOW]
    _check_windows(path, windows, 0)
    cuts = sorted(set(entries["time_s"][entries["kind"] == CUT].tolist()))
    return JournalContents(windows["scores"].astype(np.float32), windows["padded"].astype(np.bool_), cuts)


def _check_windows(path: Path, windows: NDArray[Any], first: int) -> None:
    """Raise DamagedFile unless the records are those of windows from number `first`."""
    if not np.array_equal(windows["index"], np.arange(first, first + len(windows))):
        raise DamagedFile(f"{path}: its windows are not consecutive")
    if not np.isfinite(windows["scores"]).all():
        raise DamagedFile(f"{path}: a score is not a number")


def _resume(path: Path, head: bytes, kind: np.dtype[Any]) -> JournalContents | None:
    """Leave a journal at `path` without a partial record at its end; return its contents, or None if it is new.

    A file that another job shares through a hard link is never changed: this job gets a copy.
    """
    content, contents = head, None
    with suppress(FileNotFoundError, DamagedFile):
        existing = read_file(path, MAX_BYTES)
        if existing[:HEAD_BYTES] == head:
            contents, content = _parse(path, existing, kind), existing
    whole_bytes = HEAD_BYTES + (len(content) - HEAD_BYTES) // kind.itemsize * kind.itemsize
    if contents is not None and path.stat().st_nlink == 1:
        os.truncate(path, whole_bytes)
        return contents
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    write_file(path, content[:whole_bytes])
    return contents
