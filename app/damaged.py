"""Quarantine for damaged records: moved away from the service, kept for inspection and counted for monitoring.

<data>/damaged/<kind>-<name>-<random>      kind: one of KINDS
"""

import logging
import os
import secrets
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

KINDS = ("job", "state", "session", "result", "index", "queue", "key", "feedback", "webhooks")
MAX_LOGGED = 1000

log = logging.getLogger(__name__)
_stuck: set[Path] = set()  # paths that could not be moved; each is logged once


def folder(data_dir: Path) -> Path:
    """Return the folder that receives the damaged records of `data_dir`."""
    return data_dir / "damaged"


def set_aside(path: Path, data_dir: Path, kind: str, reason: object) -> bool:
    """Move a damaged file or folder to the quarantine folder of `data_dir`, log it, and return whether it is gone.

    `kind` is one of KINDS.
    """
    target = folder(data_dir) / f"{kind}-{path.name}-{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        path.rename(target)
    except FileNotFoundError:
        return not os.path.lexists(path)
    except OSError as error:
        if path not in _stuck and len(_stuck) < MAX_LOGGED:
            _stuck.add(path)
            log.error("the damaged %s %s cannot be moved to %s (%s): %s", kind, path, target.parent, error, reason)
        return False
    with suppress(OSError):
        os.utime(target)  # `remove_old` measures the age from here
    log.error("the %s %s is damaged and was moved to %s: %s", kind, path, target, reason)
    return True


def count(data_dir: Path) -> dict[str, int]:
    """Return the number of quarantined records of each kind."""
    kinds = Counter[str]()
    with suppress(FileNotFoundError), os.scandir(folder(data_dir)) as entries:
        kinds.update(entry.name.partition("-")[0] for entry in entries)
    kinds["queue"] += (data_dir / "queue.db.damaged").exists()
    return {kind: kinds[kind] for kind in KINDS}


def remove_old(data_dir: Path, before: float) -> None:
    """Remove records quarantined before `before` (seconds since the epoch): they may contain users' videos."""
    with suppress(FileNotFoundError), os.scandir(folder(data_dir)) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_mtime < before:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)
