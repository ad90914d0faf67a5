"""Numbers of several processes in one folder: a place for each, whose files the next one goes on with.

<folder>/web-0.lock                 held by the process that has this place for as long as it lives
         counter_web-0.db           of prometheus-client, mapped into memory: what was counted outlives a kill
         histogram_web-0.db
         gauge_livesum_web-0.db     what holds only while the process lives

A place and not a pid: however often workers die there are as many files as ever were processes at the same time.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own; deploy/stack/launch.py sets it


def folder() -> Path | None:
    """Where this program's processes keep their numbers; None where there is but one, which keeps them itself."""
    told = os.environ.get(VARIABLE)
    return Path(told) if told else None


def claim(folder: Path, program: str) -> str:
    """The first place of `program` that nobody has; held until this process ends, however it does."""
    for number in count():
        name = f"{program}-{number}"
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return name
        except BlockingIOError:  # or somebody is just looking whether it is: then one place more is used
            os.close(descriptor)
    raise AssertionError("unreachable")


def is_held(folder: Path, name: str) -> bool:
    """Whether a process that lives has this place."""
    try:
        descriptor = os.open(folder / f"{name}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def readable(folder: Path) -> list[str]:
    """The files that count now: all that was ever counted, and the gauges of those who live."""
    held = {path.stem for path in folder.glob("*.lock") if is_held(folder, path.stem)}
    found = sorted(path for path in folder.glob("*.db") if path.is_file())
    return [str(path) for path in found if not path.name.startswith("gauge_") or _place(path) in held]


def bury(folder: Path) -> None:
    """Removes the gauges of those who are dead."""
    from prometheus_client.multiprocess import mark_process_dead  # Triton's container reads this file, and has none

    for path in folder.glob("*.lock"):
        if not is_held(folder, path.stem):
            with suppress(FileNotFoundError):
                mark_process_dead(path.stem, str(folder))  # type: ignore[no-untyped-call]


def clear(folder: Path, program: str) -> None:
    """Removes all that earlier processes of `program` left; one that still lives goes on in files without a name."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in (*folder.glob(f"*_{program}-*.db"), *folder.glob(f"{program}-*.lock")):
        path.unlink(missing_ok=True)


def _place(path: Path) -> str:
    return path.stem.rpartition("_")[2]
