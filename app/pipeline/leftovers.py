"""Remove temporary files that killed processes left, and none that anybody still uses.

uploads/*           bodies that nginx writes, whose worker was killed; files that a killed web worker made of JSON
TMPDIR/pymp-*       folders of multiprocessing, whose process was killed
/dev/shm/sem.mp-*   semaphores of multiprocessing, whose process was killed together with its resource tracker

Regions in /dev/shm have a lock of their own (app/shm/pool.py). A file is in use as long as some process has it open or
mapped. /proc does not tell: this process may not look into those of another user or another container. The kernel does:
it gives a write lease on a file only while nobody else has it open, whoever and wherever they are (fcntl(2)).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from app.shm.pool import SHM

STALE_S = 60.0  # younger files are left alone: somebody may be about to open one
MOST = 1000  # files of one kind that are looked at in one round
_SOCKETS = Path("/proc/net/unix")


def remove_all(uploads: Path) -> int:
    """Remove what was left in `uploads`, in TMPDIR and in /dev/shm; returns how many files and folders that was."""
    removed = sum(_remove_unused(path) for path in _stale(uploads, "", stat.S_ISREG))
    removed += sum(_remove_unused(path) for path in _stale(SHM, "sem.mp-", stat.S_ISREG))
    return removed + _remove_folders(Path(tempfile.gettempdir()))


def _stale(folder: Path, prefix: str, is_kind: object) -> Iterator[Path]:
    """Yield our own entries of `folder` that are old enough to be a leftover."""
    assert callable(is_kind)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice((each for each in entries if each.name.startswith(prefix)), MOST):
            with suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                is_old = abs(time.time() - facts.st_mtime) > STALE_S  # a clock may have been set back
                if is_kind(facts.st_mode) and facts.st_uid == os.geteuid() and is_old:
                    yield Path(entry.path)


def _remove_unused(path: Path) -> bool:
    """Remove a file unless a process has it open or mapped; whether it was removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Who opens the file now waits for this to end, and the kernel says so by a signal: not by its default, SIGIO,
        # which would end this process
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        os.unlink(path)
        return True
    except OSError:  # in use, or on a file system without leases: the next start of nginx or web removes it
        return False
    finally:
        os.close(descriptor)


def _remove_folders(temporary: Path) -> int:
    """Remove folders of multiprocessing in which nobody listens any more; a living process has a socket in its own."""
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


__all__ = ["remove_all"]
