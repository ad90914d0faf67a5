"""Removal of temporary files that killed processes left behind.

uploads/*           request bodies whose nginx worker was killed; decoded JSON files of killed web workers
TMPDIR/pymp-*       multiprocessing folders of killed processes
/dev/shm/sem.mp-*   multiprocessing semaphores of processes that were killed together with their resource tracker

A file is in use while a process has it open or mapped. /proc cannot show that for processes of other users or
containers. The kernel can: it grants a write lease only while no other process has the file open (fcntl(2)).
Regions in /dev/shm have locks of their own (app/shm/pool.py).
"""

import fcntl
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from app.shm.pool import SHM

STALE_S = 60.0  # minimum age: a process may be about to open a younger file
MOST = 1000  # files of one kind that one round checks
_SOCKETS = Path("/proc/net/unix")


def remove_all(uploads: Path) -> int:
    """Remove leftovers in `uploads`, TMPDIR and /dev/shm; return the number of files and folders removed."""
    removed = sum(_remove_unused(path) for path in _stale(uploads, "", stat.S_ISREG))
    removed += sum(_remove_unused(path) for path in _stale(SHM, "sem.mp-", stat.S_ISREG))
    return removed + _remove_folders(Path(tempfile.gettempdir()))


def _stale(folder: Path, prefix: str, is_kind: Callable[[int], bool]) -> Iterator[Path]:
    """Yield the entries of `folder` that belong to this user and are older than STALE_S."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice((item for item in entries if item.name.startswith(prefix)), MOST):
            with suppress(OSError):
                info = entry.stat(follow_symlinks=False)
                is_old = abs(time.time() - info.st_mtime) > STALE_S  # the clock may jump
                if is_kind(info.st_mode) and info.st_uid == os.geteuid() and is_old:
                    yield Path(entry.path)


def _remove_unused(path: Path) -> bool:
    """Remove a file unless a process has it open or mapped; return whether it was removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Another process that opens the file now blocks until the lease ends, and the kernel sends a signal. The
        # default signal, SIGIO, would end this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        path.unlink()
        return True
    except OSError:  # in use, or on a file system without leases: the next start of nginx or web removes it
        return False
    finally:
        os.close(descriptor)


def _remove_folders(temporary: Path) -> int:
    """Remove multiprocessing folders without a listening socket; a living process has one in its folder."""
    folders = list(_stale(temporary, "pymp-", stat.S_ISDIR))
    if not folders:
        return 0
    try:
        used = {Path(line.rsplit(" ", 1)[-1]).parent.name for line in _SOCKETS.read_text().splitlines() if "/" in line}
    except OSError:
        return 0
    removed = [folder for folder in folders if folder.name not in used]
    for folder in removed:
        shutil.rmtree(folder, ignore_errors=True)
    return len(removed)
