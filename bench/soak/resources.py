"""Resource snapshot of a stack: memory, descriptors and threads by part, shared memory, files and jobs."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.stack import paths
from deploy.stack.stack import Stack
from deploy.stack.supervisor import SupervisorClient

SHARED_MEMORY = Path("/dev/shm")
MIB = 1 << 20


@dataclass
class Share:
    """Resources of all processes of one part; pages that they share count in each."""

    processes: int = 0
    rss_mib: float = 0.0
    fds: int = 0
    threads: int = 0


@dataclass
class ResourceSnapshot:
    """Resources at `at_s` on the clock of `time.monotonic`; `places` holds file counts or MiB by name."""

    at_s: float
    parts: dict[str, Share] = field(default_factory=dict)
    places: dict[str, float] = field(default_factory=dict)


def take_snapshot(stack: Stack) -> ResourceSnapshot:
    """Return a snapshot of the running `stack`; processes that end meanwhile are left out."""
    snapshot = ResourceSnapshot(time.monotonic())
    shares: defaultdict[str, Share] = defaultdict(Share)
    pids = parts(stack)
    for pid, part in pids.items():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            share, memory = shares[part], process.memory_info()
            share.processes += 1
            share.rss_mib += memory.rss / MIB
            share.fds += process.num_fds()
            share.threads += process.num_threads()
    snapshot.parts = dict(sorted(shares.items()))
    snapshot.places = {
        "shared memory MiB": sum(_bytes(path) for path in _regions(set(pids))) / MIB,
        "uploads": sum(1 for _ in _files(stack.run_dir / "uploads")),
        "temporary files": sum(1 for folder in _temporary(stack) for _ in _files(folder)),
        "job store MiB": sum(_bytes(path) for path in _files(stack.settings.data_dir / "jobs")) / MIB,
        # Without SQLite's write-ahead log, which grows to 4 MiB and is then reused
        "job queue MiB": _bytes(stack.settings.data_dir / "queue.db") / MIB,
    }
    return snapshot


def parts(stack: Stack) -> dict[int, str]:
    """Return the part of every process of the stack."""
    config = stack.checkout / "supervisor" / "supervisord.conf"
    roles = {}
    with suppress(OSError, ValueError):
        roles[int((stack.run_dir / "supervisord.pid").read_text())] = "supervisord"
    for name, program in SupervisorClient(stack.python, config, stack.run_dir).programs().items():
        if not program.pid:
            continue
        roles[program.pid] = {"web": "gunicorn", "jobs": "job worker"}.get(name, name)
        if name == "web":
            for worker in _children(program.pid):
                roles[worker] = "web workers"
                roles |= _decoding(worker, "decoders")
        elif name == "jobs":
            roles |= _decoding(program.pid, "job decoders")
        elif name == "triton":
            roles |= dict.fromkeys(_children(program.pid), "model processes")
        elif name == "nginx":
            roles |= dict.fromkeys(_children(program.pid), "nginx")
    return roles


def _decoding(worker: int, word: str) -> dict[int, str]:
    """Return a worker's decoder server and the decoder processes forked from it."""
    servers = dict.fromkeys(_children(worker), f"{word}' server")
    return servers | {child: word for server in servers for child in _children(server)}


def _children(pid: int) -> list[int]:
    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    return []


def _regions(pids: set[int]) -> Iterator[Path]:
    """Yield shared memory regions of the stack's processes, and leaked ones without a process."""
    for path in SHARED_MEMORY.glob("clipstack-*"):
        owner = path.name.split("-")[1]
        if owner.isdecimal() and (int(owner) in pids or not psutil.pid_exists(int(owner))):
            yield path


def _temporary(stack: Stack) -> tuple[Path, ...]:
    return (
        stack.run_dir / "tmp",
        stack.run_dir / paths.TEMPORARY_FOLDER,
        stack.run_dir / paths.JOBS_TEMPORARY_FOLDER,
    )


def _files(folder: Path) -> Iterator[Path]:
    for base, _, names in os.walk(folder):
        for name in names:
            yield Path(base, name)


def _bytes(path: Path) -> int:
    """Return the size of a file on its disk or in memory; 0 if it is gone."""
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0
