"""Sandbox for processes that read hostile files, forked from a small server that has loaded only the decoders.

limits     memory, open files, written files, processor time      setrlimit; always
user       nobody, if the service itself runs as root
processes  a user namespace: no processes of others, few threads
network    a network namespace: no address, not even loopback
files      only some can be opened, none created or changed        Landlock
calls      no sockets, no programs, no rarely used kernel features        seccomp

Each layer is attempted separately (app/sandbox/layers.py) and works without the others. docs/security.md lists what
each layer protects, and which ones a decoder on a GPU has. `python -m app.sandbox` shows the layers available here.
"""

import logging
import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from app.errors import NotReady
from app.sandbox import linux
from app.sandbox.layers import MEMORY_BYTES, Layer, SandboxConfig, apply_all
from app.sandbox.process import fork_server

__all__ = [
    "MEMORY_BYTES",
    "Layer",
    "SandboxConfig",
    "SandboxError",
    "available",
    "confine",
    "current_layers",
    "missing",
    "report_missing",
    "require_layers",
    "table",
]

log = logging.getLogger(__name__)


class SandboxError(Exception):
    """Error for a layer that CLIPSTACK_SANDBOX=required demands and that is unavailable here."""


_layers: tuple[Layer, ...] = ()
_missing_layers = ""


def confine(confinement: SandboxConfig) -> None:
    """Confine a new process for hostile files, with every layer that is available."""
    global _layers, _missing_layers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for native code that hangs
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing a file becomes an error instead of killing the process
    # Decoders print what they find in a file: unbounded, unescaped and useless to an operator
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)
    _layers = apply_all(confinement)
    _missing_layers = missing(_layers) if confinement.mode == "required" else ""
    # The parent is the forkserver: without it the service cannot see whether this process still writes to the region
    linux.die_with_parent()
    # Last: a process with two threads cannot enter a new user namespace
    threading.Thread(target=_die_with_service, daemon=True).start()


def current_layers() -> tuple[Layer, ...]:
    """Return the layers of this process; none before `confine`."""
    return _layers


def require_layers() -> None:
    """Raise NotReady if a required layer is missing; the process calls it before it opens a file."""
    if _missing_layers:
        raise NotReady("the decoder lacks a sandbox layer that CLIPSTACK_SANDBOX=required demands")


def missing(layers: tuple[Layer, ...]) -> str:
    """Return the missing layers with the reasons as text; empty if none is missing."""
    return "; ".join(f"{layer.name}: {layer.note}" for layer in layers if not layer.holds)


def report_missing(layers: tuple[Layer, ...], confinement: SandboxConfig) -> None:
    """Log the layers that the first process found missing; raise SandboxError if they are required."""
    missing_layers = missing(layers)
    if missing_layers and confinement.mode == "required":
        raise SandboxError(f"CLIPSTACK_SANDBOX=required, and decoders lack these sandbox layers: {missing_layers}")
    if missing_layers:
        log.warning("decoders are confined without some layers (docs/security.md): %s", missing_layers)


def _die_with_service() -> None:
    """Kill this process when the service process ends, even in the middle of a file."""
    service = parent_process()
    if service is not None:
        service.join()
        os.kill(os.getpid(), signal.SIGKILL)


def available(confinement: SandboxConfig) -> tuple[Layer, ...]:
    """Return every layer, with the reason if it is missing, for decoders of the calling process."""
    context = fork_server()
    ours, theirs = context.Pipe()
    process = context.Process(target=_send_layers, args=(theirs, confinement), daemon=True)
    process.start()
    theirs.close()
    with ours:
        layers: tuple[Layer, ...] = ours.recv()
    process.join()
    return layers


def table(layers: tuple[Layer, ...]) -> str:
    """Return a text table with one line per layer."""
    return "\n".join(f"{layer.name:<9}  {'holds' if layer.holds else 'MISSING':<7}  {layer.note}" for layer in layers)


def _send_layers(connection: Connection, confinement: SandboxConfig) -> None:
    confine(confinement)
    connection.send(current_layers())
