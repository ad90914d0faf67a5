"""Seats in a file, of which who sits holds a lock: counted over all processes of this machine without one of its own.

A seat is one byte, which is never read or written. The kernel frees the seats of a process that was killed, so nothing
can stay counted. Locks are of the open file description (F_OFD_SETLK, Linux 3.15): threads of one process that each
opened the file hold them against each other like processes.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
from contextlib import suppress
from pathlib import Path

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux
_WAITING = 1 << 20  # from here on each share has a byte of its own, by chance


def lock(descriptor: int, kind: int, start: int, length: int, *, wait: bool = False) -> bool:
    """Whether these bytes are locked (F_WRLCK), or free (F_UNLCK), now."""
    asked = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, asked)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
        return False
    return True


def is_free(descriptor: int, start: int, length: int = 1) -> bool:
    """Whether no other description holds one of these bytes at this moment; a length of 0 is up to the end."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    return bool(struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0] == fcntl.F_UNLCK)


def sit(descriptor: int, first: int, most: int) -> bool:
    """Whether one of `most` seats from `first` on could be taken."""
    start = random.randrange(most)  # so that those who come together do not try the same ones
    return any(lock(descriptor, fcntl.F_WRLCK, first + (start + seat) % most, 1) for seat in range(most))


class SharedSemaphore:
    """`seats` places that all workers have together, in `path`; None for those of this process alone.

    Who decides whom to give a place first holds one, takes it or not, and then lets go: what is held stays free of
    others until then. Used from one thread, after fork.
    """

    def __init__(self, seats: int, path: Path | None = None) -> None:
        self.seats, self._path = seats, path
        self._taken: list[int] = []
        self._held: int | None = None
        self._descriptor: int | None = None
        self._waits = False

    @property
    def is_shared(self) -> bool:
        """Whether a place may come free without a word of this process."""
        return self._path is not None

    def hold(self) -> bool:
        """Whether one is held now, and nobody else can have it."""
        if self._held is None:
            mine, file = set(self._taken), self._file()
            left = (seat for seat in range(self.seats) if seat not in mine)
            self._held = next((seat for seat in left if not file or lock(file, fcntl.F_WRLCK, seat, 1)), None)
        return self._held is not None

    def take(self) -> bool:
        """Whether there is one held, which is then to be given back with `give`."""
        if self._held is None:
            return False
        self._taken.append(self._held)
        self._held = None
        return True

    def let_go(self) -> None:
        """Of the one that is held, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self._unlock(held)

    def give(self) -> None:
        """One that was taken, unless all were given back by `close`."""
        if self._taken:
            self._unlock(self._taken.pop())

    def wait(self, waits: bool) -> None:
        """Tells the other workers whether somebody waits here for one of them."""
        if waits != self._waits and (file := self._file()):
            lock(file, fcntl.F_WRLCK if waits else fcntl.F_UNLCK, self._mark, 1)
            self._waits = waits

    def is_waited_for(self) -> bool:
        """Whether somebody in another worker waits for one of them."""
        return bool(self._file()) and not is_free(self._file(), _WAITING, 0)

    def close(self) -> None:
        """Gives everything back, and is this process's own from now on; safe to call twice."""
        descriptor, self._descriptor, self._path = self._descriptor, None, None
        self._taken, self._held, self._waits = [], None, False
        if descriptor:
            os.close(descriptor)

    def _file(self) -> int:
        """Its descriptor; 0 where there is none, or it cannot be opened: then each worker has seats of its own."""
        if self._descriptor is None:
            self._descriptor, self._mark = 0, _WAITING + random.randrange(_WAITING)
            if self._path is not None:
                with suppress(OSError):  # a full disk, no descriptor
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor

    def _unlock(self, seat: int) -> None:
        if file := self._file():
            lock(file, fcntl.F_UNLCK, seat, 1)
