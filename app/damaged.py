"""Damaged records, set aside: moved out of the way of the service, kept for people, counted for monitoring.

<data>/damaged/<kind>-<name>-<random>      kind: job, state, session, result, index
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

KINDS = ("job", "state", "session", "result", "index", "queue", "key")
MAX_LOGGED = 1000

log = logging.getLogger(__name__)
_stuck: set[Path] = set()  # what could not be moved, which is logged once


def folder(data_dir: Path) -> Path:
    """Return the folder that damaged records of this data folder are moved to."""
    return data_dir / "damaged"


def set_aside(path: Path, data_dir: Path, kind: str, why: object) -> bool:
    """Move a damaged file or folder out of the way and log it; return whether it is out of the way."""
    target = folder(data_dir) / f"{kind}-{path.name}-{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        path.rename(target)
    except FileNotFoundError:
        return not os.path.lexists(path)
    except OSError as error:
        if path not in _stuck and len(_stuck) < MAX_LOGGED:
            _stuck.add(path)
            log.error("the damaged %s %s cannot be moved to %s (%s): %s", kind, path, target.parent, error, why)
        return False
    with suppress(OSError):
        os.utime(target)  # the age that `remove_old` goes by
    log.error("the %s %s is damaged and was moved to %s: %s", kind, path, target, why)
    return True


def count(data_dir: Path) -> dict[str, int]:
    """Return how many records of each kind lie set aside."""
    kinds = Counter[str]()
    with suppress(FileNotFoundError), os.scandir(folder(data_dir)) as entries:
        kinds.update(entry.name.partition("-")[0] for entry in entries)
    kinds["queue"] += (data_dir / "queue.db.damaged").exists()
    return {kind: kinds[kind] for kind in KINDS}


def remove_old(data_dir: Path, before: float) -> None:
    """Remove what was set aside before that time (seconds since the epoch): it may hold people's videos."""
    with suppress(FileNotFoundError), os.scandir(folder(data_dir)) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_mtime < before:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)
