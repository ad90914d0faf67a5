"""The layers around a process for hostile files: each is tried by itself, and says whether it holds."""

import os
import pwd
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from app.media import handles
from app.sandbox import landlock, linux, paths, seccomp, syscall_rules
from app.sandbox.linux import LayerUnavailable
from app.sandbox.rlimits import MEMORY_BYTES, limit
from app.video.gpu_decoding import GpuRegionHandle

THREADS = 256  # FFmpeg and decord take a few, OpenBLAS one a core
COUNTED_APART_SINCE = (5, 14)  # from this Linux on a user namespace counts its own processes alone
ON_GPU = "decodes on the GPU"


class Layer(NamedTuple):
    """One layer: its name, whether it holds, and how; or why not."""

    name: str
    holds: bool
    note: str


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What a decoder process may do: read files in the folders `readable`, write into the files `writable`.

    `mode` is CLIPSTACK_SANDBOX. A service that runs as root has its decoders run as another user, who is let into
    `readable`; with `own_user` False they stay root, for folders that are not the service's to change. With `gpu` it
    decodes there, and has few layers.
    """

    readable: tuple[str, ...]
    writable: tuple[str, ...] = ()
    mode: str = "best"
    memory_bytes: int = MEMORY_BYTES
    own_user: bool = True
    gpu: GpuRegionHandle | None = None

    def changes_user(self) -> bool:
        return self.mode != "off" and self.own_user and self.gpu is None and os.geteuid() == 0

    def admit(self, path: str) -> None:
        """Let a decoder of another user read `path`, a file in one of `readable`; called by the service."""
        if self.changes_user():
            paths.admit(path, self.readable, nobody().pw_gid)


def nobody() -> pwd.struct_passwd:
    """Who decoders of a service that runs as root are: a user that owns nothing."""
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return pwd.struct_passwd(("nobody", "x", 65534, 65534, "", "/", "/bin/false"))


def raise_all(confinement: SandboxConfig) -> tuple[Layer, ...]:
    """Put every layer around this process, a single thread unless it has a GPU; those that cannot be had say why."""
    found = [_tried("limits", lambda: limit(confinement.memory_bytes, confinement.gpu is not None))]
    if confinement.mode == "off":
        handles.hold(confinement.writable, ())
        return (*found, Layer("all others", False, "switched off (CLIPSTACK_SANDBOX)"))
    linux.forbid_new_rights()
    if confinement.gpu is not None:
        handles.hold(confinement.writable, ())
        return (*found, *_beside_a_gpu(confinement))
    drops = confinement.changes_user()
    network = _tried("network", _leave_network)  # as root it needs no more; another user needs a user namespace
    reads = [*paths.of_the_program(), *confinement.readable]
    found.append(_tried("files", lambda: landlock.restrict(reads, confinement.writable)))
    # Not before: what was open for writing could still be cut short
    handles.hold(confinement.writable, confinement.readable if drops else ())
    found.append(_tried("user", lambda: _become_nobody(confinement, drops)))
    found.append(_tried("processes", _count_apart))
    found.append(network if network.holds else _tried("network", _leave_network))
    linux.drop_capabilities()
    found.append(_tried("calls", _refuse_calls))
    return tuple(found)


def _beside_a_gpu(confinement: SandboxConfig) -> tuple[Layer, ...]:
    """What is known not to be in CUDA's way once it is open; what else could be done would not reach its threads.

    It opens devices for writing with every file that NVDEC decodes, its driver tells processes by their user, and
    slots are opened by an abstract socket (docs/security.md).
    """
    root = confinement.own_user and os.geteuid() == 0
    user = Layer("user", False, ON_GPU) if root else _tried("user", lambda: _become_nobody(confinement, False))
    calls = _tried("calls", _refuse_what_containers_do)
    return (
        Layer("files", False, ON_GPU), user, Layer("processes", False, ON_GPU), Layer("network", False, ON_GPU),
        Layer("calls", False, f"{ON_GPU}: {calls.note}"),
    )  # fmt: skip


def _tried(name: str, layer: Callable[[], str]) -> Layer:
    try:
        return Layer(name, True, layer())
    except (LayerUnavailable, OSError) as error:
        return Layer(name, False, str(error))


def _leave_network() -> str:
    linux.unshare(linux.NEW_NETWORK | linux.NEW_IPC)
    return "a namespace of its own, with no address"


def _become_nobody(confinement: SandboxConfig, drops: bool) -> str:
    if drops:
        user = nobody()
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    return f"number {os.geteuid()}" if confinement.own_user else f"number {os.geteuid()}, whose files they are"


def _count_apart() -> str:
    linux.unshare(linux.NEW_USER)
    release = tuple(int(word) for word in os.uname().release.split("-")[0].split(".")[:2])
    if release < COUNTED_APART_SINCE:
        raise LayerUnavailable(
            "this kernel counts all threads of the user together: to start some is left to other layers"
        )
    resource.setrlimit(resource.RLIMIT_NPROC, (THREADS, THREADS))
    return f"a user namespace of its own, {THREADS} threads"


def _refuse_calls() -> str:
    seccomp.refuse(syscall_rules.of_a_decoder())
    return "seccomp: no sockets, no programs, no process, no change of a file"


def _refuse_what_containers_do() -> str:
    seccomp.refuse(syscall_rules.of_containers(), every_thread=True)
    return "seccomp refuses programs, and what containers are refused, alone"
