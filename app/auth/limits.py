"""How much one key may ask for, counted over all workers of this machine without a process of its own.

Each key has one small file. Its first eight bytes are the rate's state; the bytes from SEATS on are seats that are
only ever locked, by who is at work (app/admission/shared_semaphore.py): nothing can stay counted of a worker that was killed.
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

from app.admission.shared_semaphore import is_free, lock, sit
from app.errors import TooManyRequests
from app.files import open_lock

SEATS = {"work": 4096, "read": 8192}  # where the seats of a kind begin
MOST_SEATS = 4096
_TIME = struct.Struct("d")
_SLACK_S = 1e-6  # for rounding


class Quotas:
    """The quotas of all keys, in files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def seat(self, key: str, kind: str, most: int, retry_after_s: int = 1) -> Iterator[None]:
        """One of the `most` seats of `key`, for the block; raises TooManyRequests when all are taken."""
        with self._open(key) as descriptor:  # which gives the seat back
            if not sit(descriptor, SEATS[kind], min(most, MOST_SEATS)):
                why = f"this key has {most} requests under way already, and may have no more at a time"
                raise TooManyRequests(why, retry_after_s)
            yield

    def has_seat(self, key: str, kind: str, most: int) -> bool:
        """Whether a seat is free at this moment."""
        with self._open(key) as descriptor:
            return sit(descriptor, SEATS[kind], min(most, MOST_SEATS))

    def has_seats(self, key: str, kind: str, most: int, enough: int) -> bool:
        """Whether `enough` of the `most` seats are free at this moment, and nobody is kept from them meanwhile."""
        most = min(most, MOST_SEATS)
        with self._open(key) as descriptor:
            free = (is_free(descriptor, SEATS[kind] + seat) for seat in range(most))
            return sum(itertools.islice(filter(None, free), enough)) >= min(enough, most)

    def take(self, key: str, rate: float, burst: int) -> None:
        """One request of at most `rate` a second, `burst` of them at once; raises TooManyRequests."""
        with self._open(key) as descriptor:
            lock(descriptor, fcntl.F_WRLCK, 0, _TIME.size, wait=True)
            due_s, wait_s = _due(descriptor, rate, burst)
            if wait_s > 0:
                raise _too_fast(rate, wait_s)
            os.pwrite(descriptor, _TIME.pack(due_s + 1 / rate), 0)

    def check(self, key: str, rate: float, burst: int) -> None:
        """Raises TooManyRequests where `take` would now, and takes nothing."""
        with self._open(key) as descriptor:
            _, wait_s = _due(descriptor, rate, burst)
            if wait_s > 0:
                raise _too_fast(rate, wait_s)

    @contextmanager
    def _open(self, key: str) -> Iterator[int]:
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
    """When the next request is due if they come evenly, and how long one must wait now: the generic cell rate
    algorithm (ITU-T I.371), a token bucket of one number. The clock is the machine's, the same in all processes."""
    now = time.monotonic()
    stored = os.pread(descriptor, _TIME.size, 0)
    due_s = _TIME.unpack(stored)[0] if len(stored) == _TIME.size else now
    # No request leaves a later time than this: it is damage, or from before the rate was raised or the clock began anew
    # with the machine. Cut to the latest time it would shut the key out for ever.
    due_s = max(due_s, now) if due_s <= now + burst / rate + _SLACK_S else now
    return due_s, due_s - now - (burst - 1) / rate - 1e-9


def _too_fast(rate: float, wait_s: float) -> TooManyRequests:
    return TooManyRequests(f"this key may send {rate:g} files a second", max(1, math.ceil(wait_s)))
