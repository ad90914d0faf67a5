"""Body of one request: a file, its name and its progress."""

import io
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias
from urllib.parse import quote

from ..loop_thread import run_in_thread

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

CHUNK_BYTES = 256 * 1024
# File systems allow no longer names, but a file object may have any name
MAX_NAME_BYTES = 255


Stage: TypeAlias = Literal["preparing", "sending", "classifying", "waiting"]


@dataclass(frozen=True)
class Progress:
    """Progress of one upload: `sent` bytes of `total`, which is None if the length is unknown.

    `stage` is `sending`, then `classifying` once everything is sent, or `waiting` before a retry. It starts with
    `preparing` if the file is reduced first; both numbers are then milliseconds of the video.
    """

    stage: Stage
    sent: int
    total: int | None


Watcher: TypeAlias = Callable[[Progress], None]


class Upload:
    """A binary file from its present position to its end; `total` is its bytes, None for a pipe, which is sent once."""

    def __init__(self, file: BinaryIO, name: str | None, watcher: Watcher | None = None) -> None:
        self._file = file
        self._watcher = watcher
        self._start = file.tell() if file.seekable() else None
        self.total = None if self._start is None else file.seek(0, io.SEEK_END) - self._start
        self.headers = _headers(name, self.total)
        self.sending_s = 0.0
        self.sent = 0  # bytes passed to the connection in the last attempt
        self._started = False

    @property
    def repeatable(self) -> bool:
        """Return whether the file can be sent (again) from its start."""
        return self._start is not None or not self._started

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body from its start; raise OSError if the file has become shorter since it was opened."""
        self._started, self.sent = True, 0
        if self._start is not None:
            self._file.seek(self._start)
        self.report("sending")
        started = time.perf_counter()
        while chunk := await run_in_thread(self._file.read, self._next_bytes()):
            yield chunk
            self.sent += len(chunk)
            self.sending_s = time.perf_counter() - started
            self.report("sending")
        if self.total is not None and self.sent < self.total:
            raise OSError(f"the file became shorter while it was sent: {self.sent} of {self.total} bytes")
        self.report("classifying")

    def read_at(self, offset: int, max_bytes: int) -> bytes:
        """Return the bytes from `offset` on, at most `max_bytes`; raise OSError if the file has become shorter."""
        total, start = self.total or 0, self._start or 0
        self._file.seek(start + offset)
        content = self._file.read(min(max_bytes, total - offset))
        if not content:
            raise OSError(f"the file became shorter while it was sent: {offset} of {total} bytes")
        return content

    def report(self, stage: Stage) -> None:
        """Call the watcher, if there is one."""
        if self._watcher is not None:
            self._watcher(Progress(stage, self.sent, self.total))

    def _next_bytes(self) -> int:
        # Never more than announced: a growing file is sent with its length at opening.
        return CHUNK_BYTES if self.total is None else min(CHUNK_BYTES, self.total - self.sent)


@contextmanager
def open_upload(source: Source, watcher: Watcher | None = None) -> Iterator[Upload]:
    """Open a path, or wrap bytes or a binary file object; only a path's file is closed at the end."""
    if isinstance(source, bytes):
        yield Upload(io.BytesIO(source), None, watcher)
    elif isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield Upload(file, file_name(source), watcher)
    elif isinstance(source, io.TextIOBase):
        raise TypeError("the file must be opened in binary mode")
    else:
        yield Upload(source, file_name(source), watcher)


def file_name(source: Source) -> str | None:
    """Return the name of a source, or None if it has none."""
    if isinstance(source, str | os.PathLike):
        return Path(source).name
    name = getattr(source, "name", None)
    # Descriptors have numbers as names, and pipes names like `<stdin>`.
    return Path(name).name if isinstance(name, str) and not name.startswith("<") else None


def _headers(name: str | None, total: int | None) -> dict[str, str]:
    headers = {"Content-Type": "application/octet-stream"}
    if total is not None:
        headers["Content-Length"] = str(total)
    if name:
        # Encode bytes, so that names that are invalid Unicode arrive unchanged.
        headers["X-File-Name"] = quote(os.fsencode(name)[:MAX_NAME_BYTES], safe="")
    return headers
