"""Writing the body of a request to a resumable upload as it arrives, so that a broken connection keeps what came."""

from __future__ import annotations

import hmac
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from app.errors import ClientDisconnected, Overloaded, RequestTimeout, TooLarge, TooManyRequests
from app.files import full_disk_errors, write_all
from app.uploads.errors import ChecksumMismatch, OffsetConflict
from app.uploads.parser import MIN_BYTES_S
from app.uploads.resumable import ResumableUpload
from app.uploads.tus import Checksum

READ_BYTES = 256 << 10
SYNC_BYTES = 32 << 20  # written to disk at the latest after so many bytes, so that the end has little left to do
PACE_WINDOW_S = 120.0  # the minimum rate is a mean over this time, as of other uploads
OWNER_SHARE = 0.5
MAX_DISCARDED_BYTES = 8 << 20  # of a refused body; nginx answers a larger one with 503
MAX_DISCARD_S = 5.0


class TransferLimiter:
    """Limit of the transfers of one worker; each holds a thread for as long as its client sends."""

    def __init__(self, max_count: int) -> None:
        self._max_count, self._of_owner = max_count, math.ceil(max_count * OWNER_SHARE)
        self._held, self._lock = Counter[str](), threading.Lock()

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Hold a place in the block; an owner that is not empty may hold half of them.

        Raises:
            Overloaded: All places are taken.
            TooManyRequests: The owner holds its share.
        """
        with self._lock:
            if self._held.total() >= self._max_count:
                raise Overloaded("the service receives as many uploads as it can now; please try again in a moment")
            if owner and self._held[owner] >= self._of_owner:
                raise TooManyRequests(f"this key sends {self._of_owner} uploads now, the most allowed at a time")
            self._held[owner] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[owner] -= 1


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body.

    Attributes:
        read: Waits for the given number of bytes; returns fewer at the end.
        length: Number of bytes; None for a chunked body.
        stop: Ends a read that waits in another thread.
    """

    read: Callable[[int], bytes]
    length: int | None
    stop: Callable[[], object] = lambda: None

    def discard(self) -> None:
        """Read and drop a small body: nginx can pass on a refusal only after it has passed on the body."""
        ends, left = time.monotonic() + MAX_DISCARD_S, self.length or 0
        if left > MAX_DISCARDED_BYTES:
            return
        while left > 0 and time.monotonic() < ends:
            try:
                data = self.read(min(left, READ_BYTES))
            except Exception:  # gunicorn raises errors of its own for a broken connection
                return
            left = left - len(data) if data else 0


def append(upload: ResumableUpload, body: Body, offset: int, checksum: Checksum | None) -> int:
    """Append the body at `offset` to an upload whose lock the caller holds, and return the new offset.

    What arrived is kept if the connection breaks; with a checksum it is discarded, because it cannot be checked.

    Raises:
        OffsetConflict: The upload has another offset.
        TooLarge: The body is longer than the rest of the upload.
        ClientDisconnected: The connection broke before the end of the body.
        ChecksumMismatch: The bytes do not match the checksum.
        RequestTimeout: The body arrives too slowly.
        StorageFull: The disk is full.
    """
    if offset != upload.offset:
        raise OffsetConflict(f"Upload-Offset is {offset}, but {upload.offset} bytes have arrived: continue there")
    rest = upload.length - offset
    if (body.length or 0) > rest:
        raise TooLarge(f"the body has {body.length} bytes, but only {rest} of the upload are missing")
    with upload.data.open("r+b", buffering=0) as file:
        file.truncate(offset)  # drops a chunk that was never confirmed
        file.seek(offset)
        if checksum is None:
            upload.mark_checked()
        else:
            upload.mark_unchecked(offset)
        hasher = checksum.new() if checksum else None
        try:
            received = _copy(body, file, rest, hasher)
            if checksum and hasher and not hmac.compare_digest(hasher.digest(), checksum.digest):
                raise ChecksumMismatch("the bytes do not match Upload-Checksum and were discarded: send them again")
        except BaseException:
            if checksum:
                file.truncate(offset)
            _sync(file)
            upload.mark_checked()
            raise
        _sync(file)
        upload.mark_checked()
    return offset + received


def _copy(body: Body, file: IO[bytes], rest: int, hasher: Any) -> int:
    """Write the body to `file`; return its length."""
    received = unsynced = 0
    with _Pace(body) as pace:
        try:
            for data in _chunks(body, rest):
                if hasher is not None:
                    hasher.update(data)
                with full_disk_errors():
                    write_all(file.fileno(), data)
                received += len(data)
                unsynced += len(data)
                if unsynced >= SYNC_BYTES:
                    _sync(file)
                    unsynced = 0
                pace.add(len(data))
        except ClientDisconnected:
            if pace.is_too_slow:
                raise RequestTimeout(
                    f"the upload is slower than {MIN_BYTES_S >> 10} KiB/s: continue it over a faster connection"
                ) from None
            raise
    return received


def _chunks(body: Body, rest: int) -> Iterator[bytes]:
    """Yield the body as it arrives; raises ClientDisconnected if it ends too early, TooLarge if it is too long."""
    left = rest if body.length is None else body.length
    while left:
        try:
            data = body.read(min(left, READ_BYTES))
        except Exception as error:  # gunicorn raises errors of its own for a broken connection
            raise _gone() from error
        if not data:
            break
        left -= len(data)
        yield data
    if body.length is not None and left:
        raise _gone()
    if body.length is None and not left and body.read(1):
        raise TooLarge("the body is longer than the rest of the upload")


def _gone() -> ClientDisconnected:
    return ClientDisconnected("the connection broke before the end of the body; what arrived is kept")


def _sync(file: IO[bytes]) -> None:
    with full_disk_errors():
        os.fdatasync(file.fileno())


class _Pace:
    """Watch of the minimum rate of one body; a read may block for long, so another thread looks at the count."""

    def __init__(self, body: Body) -> None:
        self._body, self._bytes, self._over = body, 0, threading.Event()
        self.is_too_slow = False

    def add(self, count: int) -> None:
        """Count bytes that arrived."""
        self._bytes += count

    def __enter__(self) -> _Pace:
        threading.Thread(target=self._watch, name="upload-pace", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        before = 0
        while not self._over.wait(PACE_WINDOW_S):
            if self._bytes - before < MIN_BYTES_S * PACE_WINDOW_S:
                self.is_too_slow = True
                self._body.stop()
                return
            before = self._bytes
