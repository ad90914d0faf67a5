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
from dataclasses import dataclass
from pathlib import Path

from app.auth.byte_locks import is_free, lock, lock_any
from app.errors import RateLimited, TooManyRequests
from app.files import open_lock

SLOT_OFFSETS = {"work": 4096, "read": 8192}  # offset of the first slot of each kind
MAX_SLOTS = 4096
CONCURRENT_MESSAGE = "this key has {} requests in progress, its limit: wait for an answer, then retry"
_TIME = struct.Struct("d")
_SLACK_S = 1e-6  # tolerance for rounding


@dataclass(frozen=True)
class RateState:
    """The state of a key's rate limit.

    `rate` is in files per second. `burst` files may arrive at once, `remaining` now, and all after `full_after_s`.
    """

    rate: float
    burst: int
    remaining: int
    full_after_s: float

    @classmethod
    def after(cls, ahead_s: float, rate: float, burst: int) -> RateState:
        """Return the state when the next evenly spaced file is due in `ahead_s` seconds."""
        return cls(rate, burst, max(0, math.floor(burst - ahead_s * rate + _SLACK_S)), max(0.0, ahead_s))

    @property
    def headers(self) -> dict[str, str]:
        """Return the response headers `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""
        window_s, full_s = math.ceil(self.burst / self.rate), math.ceil(self.full_after_s)
        return {
            "RateLimit-Policy": f'"files";q={self.burst};w={window_s}',
            "RateLimit": f'"files";r={self.remaining};t={full_s}',
        }


def too_fast(ahead_s: float, rate: float, burst: int) -> RateLimited:
    """Return the error when the next evenly spaced file is due in `ahead_s` seconds, too late for the burst."""
    retry_after_s = max(1, math.ceil(ahead_s - (burst - 1) / rate))
    message = f"this key may send {rate:g} files per second: retry in {retry_after_s} s"
    return RateLimited(message, retry_after_s, RateState.after(ahead_s, rate, burst).headers)


class Quotas:
    """The quotas of all keys, in files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def slot(self, key: str, kind: str, maximum: int, retry_after_s: int = 1) -> Iterator[None]:
        """Hold one of the `maximum` slots of `key` in the block; raises TooManyRequests when all are taken."""
        with self._open(key) as descriptor:  # closing it releases the slot
            if not lock_any(descriptor, SLOT_OFFSETS[kind], min(maximum, MAX_SLOTS)):
                message = CONCURRENT_MESSAGE.format(maximum)
                raise TooManyRequests(message, retry_after_s)
            yield

    def has_slots(self, key: str, kind: str, maximum: int, needed: int) -> bool:
        """Return whether `needed` of the `maximum` slots are free now; takes none, not even for a moment."""
        maximum = min(maximum, MAX_SLOTS)
        with self._open(key) as descriptor:
            free = (is_free(descriptor, SLOT_OFFSETS[kind] + seat) for seat in range(maximum))
            return sum(itertools.islice(filter(None, free), needed)) >= min(needed, maximum)

    def count_request(self, key: str, rate: float, burst: int) -> RateState:
        """Count one request against `rate` per second with bursts of `burst`; raises RateLimited."""
        with self._open(key) as descriptor:
            lock(descriptor, fcntl.F_WRLCK, 0, _TIME.size, wait=True)
            due_s, ahead_s = self._check(descriptor, rate, burst)
            os.pwrite(descriptor, _TIME.pack(due_s + 1 / rate), 0)
            return RateState.after(ahead_s + 1 / rate, rate, burst)

    def check_rate(self, key: str, rate: float, burst: int) -> None:
        """Raise RateLimited if `count_request` would raise it now; count nothing."""
        with self._open(key) as descriptor:
            self._check(descriptor, rate, burst)

    def _check(self, descriptor: int, rate: float, burst: int) -> tuple[float, float]:
        """Return when the next evenly spaced request is due, absolute and from now on; raises RateLimited."""
        due_s, ahead_s = _due(descriptor, rate, burst)
        if ahead_s - (burst - 1) / rate > 1e-9:
            raise too_fast(ahead_s, rate, burst)
        return due_s, ahead_s

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
    """Return when the next evenly spaced request is due, on the monotonic clock and in seconds from now.

    This is the generic cell rate algorithm (ITU-T I.371), a token bucket with one number as its state. Times are on
    the machine's monotonic clock, which all processes share.
    """
    now = time.monotonic()
    stored = os.pread(descriptor, _TIME.size, 0)
    due_s = _TIME.unpack(stored)[0] if len(stored) == _TIME.size else now
    # No request stores a later time: it comes from damage, a lower rate before, or a reboot. Ignore it: clamped to the
    # latest valid time it would lock the key out for ever.
    due_s = max(due_s, now) if due_s <= now + burst / rate + _SLACK_S else now
    return due_s, due_s - now
