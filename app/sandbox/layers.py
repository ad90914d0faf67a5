"""Layers of the sandbox: each is attempted separately and reports whether it holds."""

import os
import pwd
import resource
import stat
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.media import handles
from app.sandbox import landlock, linux, seccomp, syscall_rules
from app.sandbox.linux import LayerUnavailable
from app.shm.cuda_runtime import GpuRegionHandle

MEMORY_BYTES = 4 << 30  # address space; docs/security.md lists what files of some sizes need
OPEN_FILES = 128  # a video, its region, the pipes to the service, and files that Python loads late
THREADS = 256  # FFmpeg and decord start a few, OpenBLAS one per core
SEPARATE_COUNT_SINCE = (5, 14)  # since this Linux version a user namespace counts only its own processes
ON_GPU = "decodes on the GPU"
# Modules and libraries that are loaded late; never a whole checkout, which may contain uploads
PROGRAM_FOLDERS = (
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    str(Path(__file__).resolve().parents[1]),
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"),
)


class Layer(NamedTuple):
    """Name of a layer, whether it holds, and how it works or why it is missing."""

    name: str
    holds: bool
    note: str


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """Permissions of a decoder process: it reads files in the folders `readable` and writes to the files `writable`.

    `mode` is CLIPSTACK_SANDBOX. If the service runs as root, decoders run as another user, who gets access to
    `readable`. With `own_user` False they stay root, for folders whose permissions the service must not change. With
    `gpu` the process decodes on the GPU and has few layers.
    """

    readable: tuple[str, ...]
    writable: tuple[str, ...] = ()
    mode: str = "best"
    memory_bytes: int = MEMORY_BYTES
    own_user: bool = True
    gpu: GpuRegionHandle | None = None

    def changes_user(self) -> bool:
        """Return whether the decoder switches from root to another user."""
        return self.mode != "off" and self.own_user and self.gpu is None and os.geteuid() == 0

    def admit(self, path: str) -> None:
        """Let a decoder of another user read `path`, a file in one of `readable`; the service calls it."""
        if self.changes_user():
            _admit(path, self.readable, nobody().pw_gid)


def nobody() -> pwd.struct_passwd:
    """Return the user that decoders run as if the service runs as root; it owns nothing."""
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return pwd.struct_passwd(("nobody", "x", 65534, 65534, "", "/", "/bin/false"))


def apply_all(confinement: SandboxConfig) -> tuple[Layer, ...]:
    """Put every available layer around this process, of one thread unless it has a GPU; return all layers."""
    layers = [_attempt("limits", lambda: _limit(confinement.memory_bytes, confinement.gpu is not None))]
    if confinement.mode == "off":
        handles.hold(confinement.writable, ())
        return (*layers, Layer("all others", False, "switched off (CLIPSTACK_SANDBOX)"))
    linux.forbid_new_rights()
    if confinement.gpu is not None:
        handles.hold(confinement.writable, ())
        return (*layers, *_layers_beside_gpu(confinement))
    changes_user = confinement.changes_user()
    network = _attempt("network", _leave_network)  # enough as root; other users need a user namespace first
    readable = [*PROGRAM_FOLDERS, *confinement.readable]
    layers.append(_attempt("files", lambda: landlock.restrict(readable, confinement.writable)))
    # Only after Landlock: a file that is already open for writing could still be truncated
    handles.hold(confinement.writable, confinement.readable if changes_user else ())
    layers.append(_attempt("user", lambda: _drop_to_nobody(confinement, changes_user)))
    layers.append(_attempt("processes", _enter_user_namespace))
    layers.append(network if network.holds else _attempt("network", _leave_network))
    linux.drop_capabilities()
    layers.append(_attempt("calls", _block_calls))
    return tuple(layers)


def _layers_beside_gpu(confinement: SandboxConfig) -> tuple[Layer, ...]:
    """Return the layers of a process with CUDA open: those known not to disturb it.

    CUDA opens devices for writing with every file that NVDEC decodes, its driver identifies processes by user, and
    slots are opened through an abstract socket (docs/security.md). The other layers would not reach CUDA's threads.
    """
    root = confinement.own_user and os.geteuid() == 0
    user = Layer("user", False, ON_GPU) if root else _attempt("user", lambda: _drop_to_nobody(confinement, False))
    calls = _attempt("calls", _block_container_calls)
    files, processes, network = (Layer(name, False, ON_GPU) for name in ("files", "processes", "network"))
    return files, user, processes, network, Layer("calls", False, f"{ON_GPU}: {calls.note}")


def _attempt(name: str, layer: Callable[[], str]) -> Layer:
    try:
        return Layer(name, True, layer())
    except (LayerUnavailable, OSError) as error:
        return Layer(name, False, str(error))


def _limit(memory_bytes: int, has_gpu: bool) -> str:
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


def _leave_network() -> str:
    linux.unshare(linux.NEW_NETWORK | linux.NEW_IPC)
    return "a namespace of its own, with no address"


def _drop_to_nobody(confinement: SandboxConfig, drops: bool) -> str:
    if drops:
        user = nobody()
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    return f"number {os.geteuid()}" if confinement.own_user else f"number {os.geteuid()}, whose files they are"


def _enter_user_namespace() -> str:
    linux.unshare(linux.NEW_USER)
    release = tuple(int(word) for word in os.uname().release.split("-")[0].split(".")[:2])
    if release < SEPARATE_COUNT_SINCE:
        raise LayerUnavailable(
            "this kernel counts the threads of all processes of the user together; other layers limit new ones"
        )
    resource.setrlimit(resource.RLIMIT_NPROC, (THREADS, THREADS))
    return f"a user namespace of its own, {THREADS} threads"


def _block_calls() -> str:
    seccomp.block(syscall_rules.decoder_rules())
    return "seccomp: no sockets, no programs, no process, no change of a file"


def _block_container_calls() -> str:
    seccomp.block(syscall_rules.container_rules(), every_thread=True)
    return "seccomp refuses programs, and what containers are refused, alone"


def _admit(path: str, folders: Iterable[str], group: int) -> None:
    """Grant `group` read access to a file in one of `folders`, and passage through the folders between."""
    for folder in folders:
        if path.startswith(f"{folder}/"):
            inside = Path(path).relative_to(folder)
            for step in (Path(folder), *(Path(folder, parent) for parent in reversed(inside.parents)), Path(path)):
                _grant(step, group)


def _grant(step: Path, group: int) -> None:
    status = step.stat()
    permission = stat.S_IXGRP if stat.S_ISDIR(status.st_mode) else stat.S_IRGRP
    if status.st_mode & permission >> 3 or (status.st_gid == group and status.st_mode & permission):
        return
    os.chown(step, -1, group)
    step.chmod(stat.S_IMODE(status.st_mode) | permission)
