"""Judge from its exit code how a decoder process ended: by the file it read, by its time limit, or from outside."""

import signal
from enum import Enum

# What the kernel or a library does to a process for what its own code did. None of the other signals is evidence
# against the file: SIGKILL is what the OOM killer sends, of a cgroup or of the machine; SIGBUS means that a mapped page
# could not be read in, so memory or a disk is at fault; SIGTERM, SIGHUP and the like come from people and programs.
# Memory beyond the process's own limit (RLIMIT_AS) ends it by none of these: it is a MemoryError, or SIGABRT.
_BY_ITS_CODE = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGSYS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP})


_UNKNOWN = 255  # what multiprocessing says when the process that forked it is gone and its status with it


class Exit(Enum):
    """Why a decoder process ended."""

    FILE = "file"
    TIME_LIMIT = "timeout"
    OUTSIDE = "outside"


def judge(exit_code: int) -> Exit:
    """Return why a process ended that had `exit_code`, as multiprocessing gives it: -9 stands for signal 9.

    An exit status is the file's doing: nothing of ours ends a decoder by `exit` while it reads a file.
    """
    if exit_code == -signal.SIGXCPU:
        return Exit.TIME_LIMIT
    if exit_code == _UNKNOWN:
        return Exit.OUTSIDE
    return Exit.FILE if exit_code >= 0 or -exit_code in _BY_ITS_CODE else Exit.OUTSIDE


def label(exit_code: int) -> str:
    """Return the name for metrics: a signal's name, an exit status, or `timeout`; never text from the file."""
    if judge(exit_code) is Exit.TIME_LIMIT:
        return "timeout"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"status {exit_code}"
