"""Classification of a decoder's exit code: caused by the file, by the time limit, or from outside."""

import signal
from enum import Enum

# Signals that the kernel or a library sends because of the process's own code. No other signal is evidence against the
# file: the OOM killer sends SIGKILL, SIGBUS means that a mapped page could not be read (memory or a disk failed), and
# people and programs send SIGTERM, SIGHUP and similar. Exceeding RLIMIT_AS gives a MemoryError or SIGABRT.
_FILE_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGSYS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP})


_UNKNOWN = 255  # multiprocessing's exit code when the forkserver is gone and the status is lost


class Exit(Enum):
    """Cause of a decoder's exit."""

    FILE = "file"
    TIME_LIMIT = "timeout"
    OUTSIDE = "outside"


def classify(exit_code: int) -> Exit:
    """Return why a process ended; a plain exit status is the file's fault: our code exits no decoder that reads one."""
    if exit_code == -signal.SIGXCPU:
        return Exit.TIME_LIMIT
    if exit_code == _UNKNOWN:
        return Exit.OUTSIDE
    return Exit.FILE if exit_code >= 0 or -exit_code in _FILE_SIGNALS else Exit.OUTSIDE


def label(exit_code: int) -> str:
    """Return the exit's name for metrics: a signal's name, an exit status, or `timeout`; never text from the file."""
    if classify(exit_code) is Exit.TIME_LIMIT:
        return "timeout"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"status {exit_code}"
