"""Resources of a stack: processes, memory, open files and files on disk; compared before and after a run."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.stack.stack import Stack
from deploy.watchdog import backend_processes
from tests.nightly.faults.stack_processes import decoders, web_workers
from tests.support.stack_state import owners_of_regions, pid_of, regions, registered

MEMORY_MB, OPEN_FILES = (
    96,
    12,
)  # growth of one process that is allowed: caches, and queues and pipes in use


@dataclass(frozen=True)
class Holding:
    """Resources; `memory_mb` (RssAnon) and `open_files` are by pid."""

    web: tuple[int, ...]
    triton: tuple[int, ...]
    jobs: int
    regions: tuple[str, ...]
    decoders: int
    files: tuple[str, ...]
    memory_mb: dict[int, float]
    open_files: dict[int, int]

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"files": len(self.files)}


def holding(stack: Stack) -> Holding:
    """Return the current resources."""
    web, server, jobs = tuple(web_workers(stack)), pid_of(stack, "triton"), pid_of(stack, "jobs")
    living = (server, *sorted(stub.pid for stub in backend_processes.of_server(server)))
    watched = (*web, *living, jobs)
    return Holding(
        web=web,
        triton=living,
        jobs=jobs,
        regions=tuple(sorted(_regions(stack))),
        decoders=sum(len(decoders(worker)) for worker in web),
        files=tuple(sorted(_files(stack))),
        memory_mb={pid: _memory_mb(pid) for pid in watched},
        open_files={pid: _open_files(pid) for pid in watched},
    )


def _regions(stack: Stack) -> set[str]:
    """Return the stack's regions; regions of dead owners may belong to other runs on this machine."""
    living = stack.processes()
    return {name for name in regions(stack) if int(name.split("-")[1]) in living}


def _files(stack: Stack) -> set[str]:
    """Return the files of uploads and requests, without logs and kept results."""
    folders = [stack.run_dir / "uploads", stack.run_dir / "tmp"]
    own = {Path(f"/tmp/{name}") for name in os.listdir("/tmp") if name.startswith(("body-", "clipstack-decoder"))}
    files = {path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in files | own}


def _memory_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _open_files(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def lost(stack: Stack, before: Holding, after: Holding) -> list[str]:
    """Return the resources that a run took from a stack, or left in it."""
    losses = []
    for name in ("web", "triton", "jobs", "regions"):
        if getattr(before, name) != getattr(after, name):
            losses.append(f"{name}: {getattr(before, name)} became {getattr(after, name)}")
    if left := set(after.files) - set(before.files):
        losses.append(f"files left: {sorted(left)[:5]}")
    if after.decoders > stack.settings.web_workers * stack.settings.decoders:
        losses.append(f"{after.decoders} decoder processes")
    if len(after.regions) != owners_of_regions(stack) or set(after.regions) != registered(stack):
        losses.append(f"regions {after.regions}, at Triton {registered(stack)}")
    for pid, mb in after.memory_mb.items():
        if mb > before.memory_mb.get(pid, mb) + MEMORY_MB:
            losses.append(f"memory of {pid}: {before.memory_mb[pid]} MB became {mb}")
    for pid, count in after.open_files.items():
        if count > before.open_files.get(pid, count) + OPEN_FILES:
            losses.append(f"open files of {pid}: {before.open_files[pid]} became {count}")
    return losses
