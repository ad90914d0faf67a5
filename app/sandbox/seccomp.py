"""Seccomp: which system calls a process may make, by libseccomp, which Debian's apt brings everywhere.

https://man7.org/linux/man-pages/man3/seccomp_rule_add.3.html
"""

import ctypes
import errno
from collections.abc import Iterable
from typing import NamedTuple

from app.sandbox.linux import LayerUnavailable

NOT_EQUAL, EQUAL, MASKED_EQUAL = 1, 4, 7  # of libseccomp's scmp_compare
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EVERY_THREAD = 4  # of libseccomp's scmp_filter_attr
_OPTIMIZE, _BINARY_TREE = 8, 2  # a look-up costs what few rules cost, however many there are

try:
    _library = ctypes.CDLL("libseccomp.so.2")
except OSError:
    _library = None  # type: ignore[assignment]


class SyscallRule(NamedTuple):
    """A system call, by its name or its number, that ends with `errno`: always, or when that `argument` compares so."""

    name: str | int
    errno: int = errno.EPERM
    argument: int | None = None
    compare: int = EQUAL
    value: int = 0
    mask: int = 0


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def refuse(refusals: Iterable[SyscallRule], every_thread: bool = False) -> None:
    """Have the kernel refuse these calls to this thread and all that it starts, for good; raises Missing.

    With `every_thread` to all of this process, which no filter may tell apart yet.
    Every call of another architecture, 32-bit ones for instance, kills the process.
    """
    if _library is None:
        raise LayerUnavailable("there is no libseccomp.so.2 (Debian: libseccomp2)")
    _library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(_library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    try:
        _library.seccomp_attr_set(rules, _OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))  # from 2.5 on
        _library.seccomp_attr_set(rules, _EVERY_THREAD, ctypes.c_uint32(every_thread))
        for refusal in refusals:
            _add(rules, refusal)
        if failed := _library.seccomp_load(rules):
            raise LayerUnavailable(f"the kernel takes no seccomp filter ({errno.errorcode.get(-failed, failed)})")
    finally:
        _library.seccomp_release(rules)


def _add(rules: ctypes.c_void_p, refusal: SyscallRule) -> None:
    number = refusal.name
    if isinstance(number, str):
        number = int(_library.seccomp_syscall_resolve_name(number.encode()))
    if number < 0:  # a call that this processor does not have, or that came after this libseccomp
        return
    comparisons = (_Comparison * 1)()
    if refusal.argument is not None:
        masked = refusal.compare == MASKED_EQUAL
        first, second = (refusal.mask, refusal.value) if masked else (refusal.value, 0)
        comparisons[0] = _Comparison(refusal.argument, refusal.compare, first, second)
    count = int(refusal.argument is not None)
    action = ctypes.c_uint32(_ERRNO | refusal.errno)
    if failed := _library.seccomp_rule_add_array(rules, action, number, count, comparisons):
        raise LayerUnavailable(
            f"libseccomp does not take the rule for {refusal.name} ({errno.errorcode.get(-failed, failed)})"
        )
