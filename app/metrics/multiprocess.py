"""Metrics of several processes in one folder: each holds a numbered place, whose files its successor continues.

<folder>/web-0.lock                 locked by the process in this place for its lifetime
         counter_web-0.db           memory-mapped by prometheus-client: counts survive a killed process
         histogram_web-0.db
         gauge_livesum_web-0.db     valid only while the process lives

Places instead of pids bound the number of files by the number of concurrent processes, however many die.
"""

import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from app.files import is_locked, try_lock

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # defined by prometheus-client; deploy/stack/launch.py sets it


def folder() -> Path | None:
    """Return the folder of this program's metrics; None for a single process, which keeps them in memory."""
    value = os.environ.get(VARIABLE)
    return Path(value) if value else None


def claim(folder: Path, program: str) -> str:
    """Return the first free place of `program`, locked until this process ends for any reason."""
    for number in count():
        name = f"{program}-{number}"
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if try_lock(descriptor):
            return name
        os.close(descriptor)  # also while `is_locked` probes it: then the next place is used
    raise AssertionError("unreachable")


def readable(folder: Path) -> list[str]:
    """Return the files that count now: all counters and histograms, and the gauges of living processes."""
    living = {path.stem for path in folder.glob("*.lock") if is_locked(path)}
    files = sorted(path for path in folder.glob("*.db") if path.is_file())
    return [
        str(path)
        for path in files
        if not path.name.startswith("gauge_") or path.stem.rpartition("_")[2] in living  # gauge_*_<process>.db
    ]


def remove_dead_gauges(folder: Path) -> None:
    """Remove the gauges of dead processes."""
    # Imported late: Triton's container imports this module without prometheus-client.
    from prometheus_client.multiprocess import mark_process_dead

    for path in folder.glob("*.lock"):
        if not is_locked(path):
            with suppress(FileNotFoundError):
                mark_process_dead(path.stem, str(folder))  # type: ignore[no-untyped-call]


def clear(folder: Path, program: str) -> None:
    """Remove all files that earlier processes of `program` left; one that still lives goes on in its deleted files."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in (*folder.glob(f"*_{program}-*.db"), *folder.glob(f"{program}-*.lock")):
        path.unlink(missing_ok=True)
