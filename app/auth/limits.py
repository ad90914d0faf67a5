"""Rate and concurrency limits of each key, shared by all workers of this machine through files.

Each key has one small file. Its first eight bytes hold the rate limiter's state. The bytes from SLOT_OFFSETS on are
slots that are only locked, never written (app/auth/byte_locks.py): the kernel frees those of a killed worker.
"""

from __future__ import annotations

import fcntl
import itertools
import math
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.auth.byte_locks import is_free, lock, lock_any
from app.errors import TooManyRequests
from app.files import open_lock

SLOT_OFFSETS = {"work": 4096, "read": 8192}  # offset of the first slot of each kind
MAX_SLOTS = 4096
_TIME = struct.Struct("d")
_SLACK_S = 1e-6  # tolerance for rounding


class Quotas:
    """The quotas of all keys, in files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def slot(self, key: str, kind: str, maximum: int, retry_after_s: int = 1) -> Iterator[None]:
        """Hold one of the `maximum` slots of `key` in the block; raises TooManyRequests when all are taken."""
        with self._open(key) as descriptor:  # closing it releases the slot
            if not lock_any(descriptor, SLOT_OFFSETS[kind], min(maximum, MAX_SLOTS)):
                message = f"this key has {maximum} requests in progress, the most allowed at a time"
                raise TooManyRequests(message, retry_after_s)
            yield

    def has_slots(self, key: str, kind: str, maximum: int, needed: int) -> bool:
        """Return whether `needed` of the `maximum` slots are free now; takes none, not even for a moment."""
        maximum = min(maximum, MAX_SLOTS)
        with self._open(key) as descriptor:
            free = (is_free(descriptor, SLOT_OFFSETS[kind] + seat) for seat in range(maximum))
            return sum(itertools.islice(filter(None, free), needed)) >= min(needed, maximum)

    def count_request(self, key: str, rate: float, burst: int) -> None:
        """Count one request against `rate` per second with bursts of `burst`; raises TooManyRequests."""
        with self._open(key) as descriptor:
            lock(descriptor, fcntl.F_WRLCK, 0, _TIME.size, wait=True)
            due_s, wait_s = _due(descriptor, rate, burst)
            if wait_s > 0:
                raise _rate_error(rate, wait_s)
            os.pwrite(descriptor, _TIME.pack(due_s + 1 / rate), 0)

    def check_rate(self, key: str, rate: float, burst: int) -> None:
        """Raise TooManyRequests if `count_request` would raise it now; count nothing."""
        with self._open(key) as descriptor:
            _, wait_s = _due(descriptor, rate, burst)
            if wait_s > 0:
                raise _rate_error(rate, wait_s)

    @contextmanager
    def _open(self, key: str) -> Iterator[int]:
        """Yield a descriptor of the key's file, which releases its locks when it is closed."""
        path = self._folder / key
        try:
            descriptor = open_lock(path)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = open_lock(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _due(descriptor: int, rate: float, burst: int) -> tuple[float, float]:
    """Return when the next evenly spaced request is due, and how many seconds one must wait now.

    This is the generic cell rate algorithm (ITU-T I.371), a token bucket with one number as its state. Times are on
    the machine's monotonic clock, which all processes share.
    """
    now = time.monotonic()
    stored = os.pread(descriptor, _TIME.size, 0)
    due_s = _TIME.unpack(stored)[0] if len(stored) == _TIME.size else now
    # No request stores a later time: it comes from damage, a lower rate before, or a reboot. Ignore it: clamped to the
    # latest valid time it would lock the key out for ever.
    due_s = max(due_s, now) if due_s <= now + burst / rate + _SLACK_S else now
    return due_s, due_s - now - (burst - 1) / rate - 1e-9


def _rate_error(rate: float, wait_s: float) -> TooManyRequests:
    retry_after_s = max(1, math.ceil(wait_s))
    return TooManyRequests(f"this key may send {rate:g} files a second: retry in {retry_after_s} s", retry_after_s)
