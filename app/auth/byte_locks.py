"""Locks on single bytes of a file, which is never read or written there.

The kernel releases the locks of a killed process, so they cannot leak. They belong to the open file description
(F_OFD_SETLK, Linux 3.15): threads that each opened the file exclude each other like processes.
"""

import fcntl
import os
import random
import struct

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux


def lock(descriptor: int, kind: int, start: int, length: int, *, wait: bool = False) -> bool:
    """Lock (F_WRLCK) or unlock (F_UNLCK) `length` bytes from `start` on; with `wait`, block until they are free.

    Returns False when another description holds a lock in the range.
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


def lock_any(descriptor: int, first: int, max_count: int) -> bool:
    """Try to lock one of the `max_count` bytes from `first` on, and return whether that succeeded."""
    start = random.randrange(max_count)  # random, so that concurrent callers try different bytes
    return any(lock(descriptor, fcntl.F_WRLCK, first + (start + number) % max_count, 1) for number in range(max_count))
