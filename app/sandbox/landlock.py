"""Landlock: kernel access control for files, independent of the user; since Linux 5.13.

https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from app.sandbox.linux import LayerUnavailable, call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1

_WRITE_FILE, _READ_FILE, _READ_DIRECTORY = 1 << 1, 1 << 2, 1 << 3
_TCP = 0b11  # bind and connect
_SCOPES = 0b11  # other processes' abstract sockets, signals to other processes
_FILE_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16))  # (ABI version, number of file rights known since then)
_TCP_SINCE, _SCOPES_SINCE = 4, 6


def version() -> int:
    """Return the kernel's Landlock ABI version; raise LayerUnavailable if it has none."""
    try:
        return call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    except OSError as error:
        reason = "is not switched on" if error.errno == errno.EOPNOTSUPP else "is not known or not allowed"
        raise LayerUnavailable(f"Landlock {reason} here ({error.strerror})") from None


def restrict(readable: Iterable[str], writable: Iterable[str]) -> str:
    """Allow this process to read below the paths `readable` and to write the files `writable`, and nothing else.

    Where the kernel supports it, TCP and signals to other processes are blocked too; the returned note names the
    version. Files that are already open stay open. Missing paths are ignored.

    Raises:
        LayerUnavailable: The kernel has no Landlock.
    """
    abi = version()
    rights = max(count for since, count in _FILE_RIGHTS if abi >= since)
    handled = struct.pack(
        "=QQQ", (1 << rights) - 1, _TCP if abi >= _TCP_SINCE else 0, _SCOPES if abi >= _SCOPES_SINCE else 0
    )
    ruleset = call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIRECTORY)
        for path in writable:
            _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
        call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return f"Landlock {abi}" + ("" if abi >= _SCOPES_SINCE else ": TCP or signals are left to other layers")


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not Path(path).is_dir():
            rights &= ~_READ_DIRECTORY
        rule = struct.pack("=Qi", rights, descriptor)
        call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(descriptor)
