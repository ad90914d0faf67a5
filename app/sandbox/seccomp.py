"""Seccomp: filter of the system calls that a process may make, through libseccomp, which every Debian has.

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
_OPTIMIZE, _BINARY_TREE = 8, 2  # lookup time grows with the logarithm of the number of rules

try:
    _library = ctypes.CDLL("libseccomp.so.2")
except OSError:
    _library = None  # type: ignore[assignment]


class SyscallRule(NamedTuple):
    """Call, by name or number, that fails with `errno`: always, or if `argument` satisfies the comparison."""

    name: str | int
    errno: int = errno.EPERM
    argument: int | None = None
    compare: int = EQUAL
    value: int = 0
    mask: int = 0


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def block(rules: Iterable[SyscallRule], every_thread: bool = False) -> None:
    """Have the kernel refuse these calls to this thread and all that it starts; irreversible.

    With `every_thread` the filter applies to all threads of the process, none of which may have another filter yet.
    A call of another architecture, for example a 32-bit one, kills the process.

    Raises:
        LayerUnavailable: libseccomp is missing, or the kernel rejects the filter.
    """
    if _library is None:
        raise LayerUnavailable("there is no libseccomp.so.2 (Debian: libseccomp2)")
    _library.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(_library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    try:
        _library.seccomp_attr_set(filter_, _OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))  # from 2.5 on
        _library.seccomp_attr_set(filter_, _EVERY_THREAD, ctypes.c_uint32(every_thread))
        for rule in rules:
            _add(filter_, rule)
        if failed := _library.seccomp_load(filter_):
            raise LayerUnavailable(f"the kernel rejects the seccomp filter ({errno.errorcode.get(-failed, failed)})")
    finally:
        _library.seccomp_release(filter_)


def _add(filter_: ctypes.c_void_p, rule: SyscallRule) -> None:
    number = rule.name
    if isinstance(number, str):
        number = int(_library.seccomp_syscall_resolve_name(number.encode()))
    if number < 0:  # a call that this architecture lacks, or that is newer than this libseccomp
        return
    comparisons = (_Comparison * 1)()
    if rule.argument is not None:
        masked = rule.compare == MASKED_EQUAL
        first, second = (rule.mask, rule.value) if masked else (rule.value, 0)
        comparisons[0] = _Comparison(rule.argument, rule.compare, first, second)
    count = int(rule.argument is not None)
    action = ctypes.c_uint32(_ERRNO | rule.errno)
    if failed := _library.seccomp_rule_add_array(filter_, action, number, count, comparisons):
        raise LayerUnavailable(f"libseccomp rejects the rule for {rule.name} ({errno.errorcode.get(-failed, failed)})")
