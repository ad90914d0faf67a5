"""First layer, always available: kernel limits on a process's memory and files."""

import resource
from pathlib import Path

MEMORY_BYTES = 4 << 30  # address space; docs/security.md lists what files of some sizes need
OPEN_FILES = 128  # a video, its region, the pipes to the service, and files that Python loads late


def limit(memory_bytes: int, has_gpu: bool) -> str:
    """Set the limits irreversibly; with `has_gpu`, on top of what CUDA has already mapped and opened."""
    open_files = OPEN_FILES
    if has_gpu:
        memory_bytes += address_space()
        open_files += len(list(Path("/proc/self/fd").iterdir()))
    for resource_id, maximum in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, open_files),
    ):
        hard = resource.getrlimit(resource_id)[1]
        maximum = maximum if hard == resource.RLIM_INFINITY else min(maximum, hard)
        resource.setrlimit(resource_id, (maximum, maximum))
    return f"{memory_bytes >> 20} MiB of address space, {open_files} open files, none written, time by the task"


def address_space() -> int:
    """Return the bytes of address space that this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
