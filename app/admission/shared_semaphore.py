"""Cross-process semaphore built on byte-range file locks.

Each permit is the lock on one byte, which is never read or written. The kernel releases the locks of a killed process,
so permits cannot leak. The locks belong to the open file description (F_OFD_SETLK, Linux 3.15): threads that each
opened the file exclude each other like processes.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
from contextlib import suppress
from pathlib import Path

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux
_WAITING = 1 << 20  # from this offset on, each waiting worker locks one byte that it picked at random


def lock(descriptor: int, kind: int, start: int, length: int, *, wait: bool = False) -> bool:
    """Lock (F_WRLCK) or unlock (F_UNLCK) a range of bytes.

    Args:
        descriptor: The lock file.
        kind: F_WRLCK or F_UNLCK.
        start: First byte.
        length: Number of bytes.
        wait: Whether to block until the range is free.

    Returns:
        Whether it succeeded; False when another description holds a lock in the range.
    """
    flock = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, flock)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, depending on the system
        return False
    return True


def is_free(descriptor: int, start: int, length: int = 1) -> bool:
    """Return whether no other description holds a lock in the range; a length of 0 extends it to the end."""
    flock = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    return bool(struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, flock))[0] == fcntl.F_UNLCK)


def sit(descriptor: int, first: int, most: int) -> bool:
    """Try to lock one of the `most` bytes from `first` on, and return whether that succeeded."""
    start = random.randrange(most)  # random, so that concurrent callers try different bytes
    return any(lock(descriptor, fcntl.F_WRLCK, first + (start + seat) % most, 1) for seat in range(most))


class SharedSemaphore:
    """Semaphore with `seats` permits that all workers share through `path`; None for this process alone.

    A scheduler first calls `hold` to reserve a permit, then `take` to use it or `let_go` to release the reservation.
    Use from one thread, after fork.
    """

    def __init__(self, seats: int, path: Path | None = None) -> None:
        self.seats, self._path = seats, path
        self._taken: list[int] = []
        self._held: int | None = None
        self._descriptor: int | None = None
        self._waits = False

    @property
    def is_shared(self) -> bool:
        """Whether other processes share the permits."""
        return self._path is not None

    def hold(self) -> bool:
        """Reserve a permit if none is reserved, and return whether one is reserved now."""
        if self._held is None:
            mine, file = set(self._taken), self._file()
            left = (seat for seat in range(self.seats) if seat not in mine)
            self._held = next((seat for seat in left if not file or lock(file, fcntl.F_WRLCK, seat, 1)), None)
        return self._held is not None

    def take(self) -> bool:
        """Use the reserved permit, to be returned with `give`; return whether there was one."""
        if self._held is None:
            return False
        self._taken.append(self._held)
        self._held = None
        return True

    def let_go(self) -> None:
        """Release the reserved permit, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self._unlock(held)

    def give(self) -> None:
        """Return one permit that was taken; does nothing after `close`."""
        if self._taken:
            self._unlock(self._taken.pop())

    def wait(self, waits: bool) -> None:
        """Publish to the other workers whether a request in this one waits for a permit."""
        if waits != self._waits and (file := self._file()):
            lock(file, fcntl.F_WRLCK if waits else fcntl.F_UNLCK, self._mark, 1)
            self._waits = waits

    def is_waited_for(self) -> bool:
        """Return whether a request in another worker waits for a permit."""
        return bool(self._file()) and not is_free(self._file(), _WAITING, 0)

    def close(self) -> None:
        """Return all permits and stop sharing them with other processes. Safe to call twice."""
        descriptor, self._descriptor, self._path = self._descriptor, None, None
        self._taken, self._held, self._waits = [], None, False
        if descriptor:
            os.close(descriptor)

    def _file(self) -> int:
        """Return the file's descriptor; 0 without a file, in which case each worker has permits of its own."""
        if self._descriptor is None:
            self._descriptor, self._mark = 0, _WAITING + random.randrange(_WAITING)
            if self._path is not None:
                with suppress(OSError):  # full disk or no descriptor
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor

    def _unlock(self, seat: int) -> None:
        if file := self._file():
            lock(file, fcntl.F_UNLCK, seat, 1)
