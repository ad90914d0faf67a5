"""Paths that a confined process may open: Python's own folders, and uploads after granting its group access."""

import os
import stat
import sysconfig
from collections.abc import Iterable
from pathlib import Path

# Modules and libraries that are loaded late; never a whole checkout, which may contain uploads
PROGRAM_FOLDERS = (
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    str(Path(__file__).resolve().parents[1]),
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"),
)


def admit(path: str, folders: Iterable[str], group: int) -> None:
    """Grant `group` read access to a file in one of `folders`, and passage through the folders between."""
    for folder in folders:
        if path.startswith(f"{folder}/"):
            inside = Path(path).relative_to(folder)
            for step in (Path(folder), *(Path(folder, parent) for parent in reversed(inside.parents)), Path(path)):
                _grant(step, group)


def _grant(step: Path, group: int) -> None:
    status = step.stat()
    permission = stat.S_IXGRP if stat.S_ISDIR(status.st_mode) else stat.S_IRGRP
    if status.st_mode & permission >> 3 or (status.st_gid == group and status.st_mode & permission):
        return
    os.chown(step, -1, group)
    step.chmod(stat.S_IMODE(status.st_mode) | permission)
