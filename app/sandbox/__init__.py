"""Processes for hostile files: confined, and forked from a small server that has loaded the decoders alone.

limits     memory, open files, written files, processor time      setrlimit; always
user       nobody, where the service itself runs as root
processes  a user namespace: nobody else's processes, few threads
network    a network namespace: no address, not even loopback
files      only some may be opened, none be made or changed        Landlock
calls      no sockets, no programs, nothing of what else a kernel can do        seccomp

Each is tried by itself (app/sandbox/layers.py) and each holds without the others; docs/security.md says which
one stands between what, and which ones a decoder has that decodes on a GPU. `python -m app.sandbox` shows what can
be had here.
"""

import logging
import os
import signal
import threading
from multiprocessing import parent_process

from app.errors import NotReady
from app.sandbox import linux
from app.sandbox.ipc import Forkserver
from app.sandbox.layers import Layer, SandboxConfig, raise_all
from app.sandbox.rlimits import MEMORY_BYTES
from app.video import gpu_decoding

__all__ = [
    "MEMORY_BYTES", "SandboxConfig", "Layer", "SandboxError", "confine", "demand", "forkserver", "held", "missing", "tell",
]  # fmt: skip

# The last ones would be loaded late, when it may not be possible any more: a checkout can be root's alone
PRELOADED = [
    "app.decoding.pool", "app.timeline.process", "mmap", "encodings.ascii", "encodings.latin_1", "encodings.utf_16",
    "av.subtitles.codeccontext", "av.subtitles.stream", "av.subtitles.subtitle", "av.sidedata.encparams",
]  # fmt: skip

log = logging.getLogger(__name__)


class SandboxError(Exception):
    """A layer that CLIPSTACK_SANDBOX=required asks for cannot be had here."""


_layers: tuple[Layer, ...] = ()
_lacking = ""


def forkserver() -> Forkserver:
    """Where decoder processes come from; one server for all of this process's, so that each starts in milliseconds."""
    context = Forkserver()
    context.set_forkserver_preload(PRELOADED)
    return context


def confine(confinement: SandboxConfig) -> None:
    """Prepare a new process for hostile files, whatever of it can be had.

    What it needs of a GPU is taken before: CUDA starts threads, opens devices, and may write files of its own.
    """
    global _layers, _lacking
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for native code that hangs
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing a file is an error, not death
    # Decoders print what they find in a file: unbounded, unescaped, and never of use to an operator.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)
    if confinement.gpu is not None:
        gpu_decoding.prepare(confinement.gpu)
    _layers = raise_all(confinement)
    _lacking = missing(_layers) if confinement.mode == "required" else ""
    # The forkserver: once it is gone the service cannot tell whether this process still writes into the region
    linux.die_with_parent()
    # Last: a process of two threads gets no user namespace
    threading.Thread(target=_follow_the_service, daemon=True).start()


def held() -> tuple[Layer, ...]:
    """The layers around this process; none before `confine`."""
    return _layers


def demand() -> None:
    """Raise NotReady where a layer is missing that must not be; called in the process before it opens a file."""
    if _lacking:
        raise NotReady("the decoder is not confined as it must be")


def missing(found: tuple[Layer, ...]) -> str:
    """The layers that do not hold, in words; empty when all do."""
    return "; ".join(f"{layer.name}: {layer.note}" for layer in found if not layer.holds)


def tell(found: tuple[Layer, ...], confinement: SandboxConfig) -> None:
    """Log what a first process found missing; raises Unconfined where that must not be."""
    lacking = missing(found)
    if lacking and confinement.mode == "required":
        raise SandboxError(f"decoders cannot be confined as CLIPSTACK_SANDBOX=required asks: {lacking}")
    if lacking:
        log.warning("decoders are confined without some layers (docs/security.md): %s", lacking)


def _follow_the_service() -> None:
    """Die with the process that owns this one, even in the middle of a file: it may have been killed itself."""
    service = parent_process()
    if service is not None:
        service.join()
        os.kill(os.getpid(), signal.SIGKILL)
