"""Find what a test leaves behind: shared memory, temporary files, processes."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PATIENCE_S = 10.0  # for processes that are ending
Things = frozenset[str]


def parents() -> dict[int, int]:
    """Return the parent of every process of the machine that is no zombie."""
    parents_by_pid = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            with open(f"/proc/{entry.name}/stat", "rb", buffering=0) as stat:  # twice a test: every way round counts
                state, parent = stat.read().rpartition(b")")[2].split(None, 2)[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
        if state not in b"ZX":
            parents_by_pid[int(entry.name)] = int(parent)
    return parents_by_pid


def is_childless() -> bool:
    """Return whether this process has no child, not even one that has ended."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def descendants(root: int, table: Mapping[int, int] | None = None) -> set[int]:
    """Return the pids of all descendants of `root`."""
    table = parents() if table is None else table
    family, generation = {root}, {root}
    while generation:
        generation = {pid for pid, parent in table.items() if parent in generation} - family
        family |= generation
    return family - {root}


def regions(table: Mapping[int, int] | None = None) -> set[str]:
    """Return regions of shared memory whose owner is this process, a descendant, or dead.

    A living owner elsewhere is another run, or the session's own stack.
    """
    alive = parents() if table is None else table
    ours = descendants(os.getpid(), alive) | {os.getpid()}
    regions = set()
    for path in SHARED_MEMORY.glob("clipstack-*"):
        owner = path.name.split("-")[1]
        if not owner.isdecimal() or int(owner) in ours or int(owner) not in alive:
            regions.add(str(path))
    return regions


def processes(table: Mapping[int, int], spared: int | None = None) -> set[str]:
    """Return descendants of this process, without multiprocessing's two helpers and without those of `spared`."""
    helpers = {
        getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None),
        getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None),
    }
    kept = helpers | (set() if spared is None else descendants(spared, table))
    return {f"pid {pid} ({_command(pid)})" for pid in descendants(os.getpid(), table) - kept}


def files(folder: Path) -> set[str]:
    """Return the paths directly in `folder`."""
    return {str(path) for path in folder.iterdir()} if folder.is_dir() else set()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
    except OSError:
        return "ended"


@dataclass(frozen=True)
class Snapshot:
    """Regions, processes and files at one moment."""

    regions: Things
    processes: Things
    files: Things

    @classmethod
    def take(cls, *folders: Path, spared: int | None = None) -> Snapshot:
        watched = (Path(tempfile.gettempdir()), *folders)
        left = set().union(*(files(folder) for folder in watched))
        # Reading of every process of the machine is most of what a small test takes
        nothing_to_know = is_childless() and not any(SHARED_MEMORY.glob("clipstack-*"))
        table = {} if nothing_to_know else parents()
        return cls(frozenset(regions(table)), frozenset(processes(table, spared)), frozenset(left))

    def __sub__(self, before: Snapshot) -> list[str]:
        new = (self.regions - before.regions, self.processes - before.processes, self.files - before.files)
        return sorted(set().union(*new))


@contextmanager
def guarded(
    fail: Callable[[str], object], *folders: Path, patience_s: float = PATIENCE_S, spared: int | None = None
) -> Iterator[None]:
    """Call `fail` if the block leaves something behind that is still there after `patience_s`.

    Descendants of the process `spared` do not count.
    """
    before = Snapshot.take(*folders, spared=spared)
    yield
    deadline = time.monotonic() + patience_s
    while left := Snapshot.take(*folders, spared=spared) - before:
        if time.monotonic() > deadline:
            fail("left behind: " + ", ".join(left))
            return
        time.sleep(0.05)
