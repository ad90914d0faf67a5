"""Processes for hostile files: confined, and forked from a small server that has loaded the decoders alone."""

import os
import resource
import signal
import threading
from multiprocessing import get_context, parent_process
from multiprocessing.context import ForkServerContext

PRELOADED = ["app.decoder", "app.timeline.stream", "mmap"]


def forkserver() -> ForkServerContext:
    """Where decoder processes come from; one server for all of this process's, so that each starts in milliseconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def confine(memory_bytes: int) -> None:
    """Prepare a new process for hostile files; `memory_bytes` of address space are all that it may take."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for native code that hangs
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing a file is an error, not death
    threading.Thread(target=_follow_the_service, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # Decoders print what they find in a file: unbounded, unescaped, and never of use to an operator.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)


def _follow_the_service() -> None:
    """Die with the process that owns this one, even in the middle of a file: it may have been killed itself."""
    service = parent_process()
    if service is not None:
        service.join()
        os.kill(os.getpid(), signal.SIGKILL)
