"""System calls that Python 3.11 has no words for; each raises OSError as Python's own do."""

import ctypes
import os
import signal

NEW_USER, NEW_IPC, NEW_NETWORK = 0x10000000, 0x08000000, 0x40000000  # linux/sched.h
_PARENT_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h

_libc = ctypes.CDLL(None, use_errno=True)


class LayerUnavailable(Exception):
    """A layer cannot be had here; the message says why."""


def call(number: int, *arguments: object) -> int:
    """A system call by its number, for those that have the same one on every processor: from 424 on."""
    _libc.syscall.restype = ctypes.c_long
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def forbid_new_rights() -> None:
    """No program that this process starts has more rights than it has itself; for good."""
    _checked(_libc.prctl(_NO_NEW_PRIVILEGES, *(ctypes.c_ulong(word) for word in (1, 0, 0, 0))))


def die_with_parent() -> None:
    """Have the kernel send SIGKILL when the parent ends; a later change of the user would undo it."""
    _checked(_libc.prctl(_PARENT_DEATH_SIGNAL, *(ctypes.c_ulong(word) for word in (signal.SIGKILL, 0, 0, 0))))


def unshare(what: int) -> None:
    """Leave namespaces for new ones; a user namespace needs a process of one thread."""
    _checked(_libc.unshare(ctypes.c_int(what)))


def drop_capabilities() -> None:
    """Give up every capability, those in a user namespace of its own too."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
