"""The first layer: what the kernel gives a process of memory and files at the most. It is always there."""

import os
import resource

MEMORY_BYTES = 4 << 30  # address space; docs/security.md has what files of some sizes take
OPEN_FILES = 128  # a video, its region, the pipes to the service, and whatever Python loads late


def limit(memory_bytes: int, has_gpu: bool) -> str:
    """Set them for good; beside what this process has taken already where it `has_gpu`.

    CUDA lays the memory of the host and of every GPU into one address space, and holds many a device open.
    """
    open_files = OPEN_FILES
    if has_gpu:
        memory_bytes += address_space()
        open_files += len(os.listdir("/proc/self/fd"))
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, open_files),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    return f"{memory_bytes >> 20} MiB of address space, {open_files} open files, none written, time by the task"


def address_space() -> int:
    """Bytes of address space that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
