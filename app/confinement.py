"""Processes for hostile files: confined, and forked from a small server that has loaded the decoders alone."""

import os
import resource
import signal
import threading
from multiprocessing import get_context, parent_process
from multiprocessing.context import ForkServerContext

from app import gpu_decoding
from app.gpu_decoding import GpuSlots

PRELOADED = ["app.decoder", "app.timeline.stream", "mmap"]


def forkserver() -> ForkServerContext:
    """Where decoder processes come from; one server for all of this process's, so that each starts in milliseconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def confine(memory_bytes: int, gpu: GpuSlots | None = None) -> None:
    """Prepare a new process for hostile files; `memory_bytes` of address space are all that it may take.

    With `gpu` that is beside what it takes for decoding there: CUDA lays the memory of the host and of every GPU into
    one address space, and may write files of its own, so all of that is done before anything is forbidden.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for native code that hangs
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing a file is an error, not death
    threading.Thread(target=_follow_the_service, daemon=True).start()
    # Decoders print what they find in a file: unbounded, unescaped, and never of use to an operator.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)
    if gpu is not None:
        gpu_decoding.prepare(gpu)
        memory_bytes += address_space()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def address_space() -> int:
    """Bytes of address space that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _follow_the_service() -> None:
    """Die with the process that owns this one, even in the middle of a file: it may have been killed itself."""
    service = parent_process()
    if service is not None:
        service.join()
        os.kill(os.getpid(), signal.SIGKILL)
