"""System calls that Python 3.11 lacks; each raises OSError on failure."""

import ctypes
import os
import signal

NEW_USER, NEW_IPC, NEW_NETWORK = 0x10000000, 0x08000000, 0x40000000  # linux/sched.h
_PARENT_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h

_libc = ctypes.CDLL(None, use_errno=True)


class LayerUnavailable(Exception):
    """Error for a layer that is unavailable here; the message gives the reason."""


def call(number: int, *arguments: object) -> int:
    """Make a system call by number; numbers from 424 are the same on all architectures."""
    _libc.syscall.restype = ctypes.c_long
    return _check_result(_libc.syscall(ctypes.c_long(number), *arguments))


def forbid_new_rights() -> None:
    """Set no_new_privs: programs that this process starts never gain privileges; irreversible."""
    _check_result(_libc.prctl(_NO_NEW_PRIVILEGES, *(ctypes.c_ulong(word) for word in (1, 0, 0, 0))))


def die_with_parent() -> None:
    """Have the kernel send SIGKILL when the parent ends; a later change of user would reset it."""
    _check_result(_libc.prctl(_PARENT_DEATH_SIGNAL, *(ctypes.c_ulong(word) for word in (signal.SIGKILL, 0, 0, 0))))


def unshare(what: int) -> None:
    """Move into new namespaces; a user namespace requires a process with one thread."""
    _check_result(_libc.unshare(ctypes.c_int(what)))


def drop_capabilities() -> None:
    """Give up all capabilities, including those within the process's own user namespace."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check_result(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def _check_result(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
