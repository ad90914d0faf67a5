"""What must be so before the stack can start; each complaint says what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from app.settings import CHECKOUT, GRPC_SOCKET, Settings
from deploy.gpu import discovery
from deploy.nginx import tls
from deploy.stack import users
from deploy.stack.places import jobs_temporary, key_check_socket, program, web_socket
from deploy.stack.ports import holder, why_not

SOCKET_PATH_LIMIT = 107  # bytes; sockaddr_un holds 108 with the closing zero
CONFINED_S = 60.0  # a second, if the machine has nothing else to do
JOB_REGIONS = 1  # the job worker has slots of its own
SPARE_SHM = 64 << 20  # Triton's own regions, and gunicorn's heartbeats


def complaints(settings: Settings, checkout: Path = CHECKOUT) -> list[str]:
    """Everything that stands in the way of a start, in words; empty when nothing does."""
    return [
        *_programs(checkout),
        *models(settings),
        *sockets(settings),
        *_ports(settings),
        *_tls(settings),
        *_shared_memory(settings),
        *gpu_decoding(settings),
    ]


def of_web(settings: Settings) -> list[str]:
    """The same for a container that holds nginx and web alone."""
    return [
        *sockets(settings),
        *_tls(settings),
        *_shared_memory(settings),
        *gpu_decoding(settings),
        *triton_key(settings),
        *of_decoders(settings, users.User.current()),
    ]


def of_decoders(settings: Settings, user: users.User) -> list[str]:
    """Which layers decoders of `user` cannot have, if they must have all of them: found out by one that tries."""
    if settings.sandbox != "required":
        return []
    tried = try_layers(settings.sandbox, user)
    if tried.returncode == 0:
        return []
    why = tried.stderr.strip().rpartition("\n")[2]
    return [f"CLIPSTACK_SANDBOX is required, and decoders of {user.name} cannot have every layer: {why}"]


def try_layers(mode: str, user: users.User, limit_s: float = CONFINED_S) -> subprocess.CompletedProcess[str]:
    """What `python -m app.sandbox` says as that user; raises TimeoutExpired."""
    other = user.uid != os.geteuid()
    return subprocess.run(
        [sys.executable, "-m", "app.sandbox"], cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True,
        env={"PATH": os.environ.get("PATH", os.defpath), "CLIPSTACK_SANDBOX": mode}, text=True, timeout=limit_s,
        user=user.uid if other else None, group=user.gid if other else None, extra_groups=[] if other else None,
        check=False,
    )  # fmt: skip


def of_triton(settings: Settings) -> list[str]:
    """The same for a container that holds Triton alone."""
    return [*models(settings), *sockets(settings)]


def _programs(checkout: Path) -> list[str]:
    found = []
    try:
        program("nginx")
    except FileNotFoundError as error:
        found.append(str(error))
    if not os.access(checkout / ".runtime" / "triton" / "bin" / "tritonserver", os.X_OK):
        found.append("Triton is not unpacked: run `make setup`")
    return found


def models(settings: Settings) -> list[str]:
    """The default model must have been exported; others may be missing or broken."""
    model = settings.model_dir / settings.model
    if not (model / "config.pbtxt").is_file():
        return [f"there is no model {settings.model!r} in {settings.model_dir} (CLIPSTACK_MODEL)"]
    if not any(path.is_dir() and path.name.isdecimal() for path in model.iterdir()):
        return [f"the model {settings.model!r} has not been exported: run `make setup`"]
    return []


def sockets(settings: Settings) -> list[str]:
    candidates = (
        settings.run_dir / "supervisor.sock.4194304",  # Supervisor binds a name with its pid at the end first
        web_socket(settings.run_dir),
        key_check_socket(settings.run_dir),
        settings.triton_sockets / GRPC_SOCKET,
        jobs_temporary(settings.run_dir) / "pymp-12345678" / "listener-12345678",  # of multiprocessing, in each worker
    )
    longest = max(candidates, key=_bytes)
    length = _bytes(longest)
    if length <= SOCKET_PATH_LIMIT:
        return []
    return [
        f"{longest} has {length} bytes, and a socket's path may have {SOCKET_PATH_LIMIT}: "
        "set CLIPSTACK_RUN_DIR to a shorter folder, such as /run/clipstack"
    ]


def _bytes(path: Path) -> int:
    return len(os.fsencode(path))


def _ports(settings: Settings) -> list[str]:
    if settings.triton_address:
        return [
            f"CLIPSTACK_TRITON_ADDRESS={settings.triton_address}: this stack starts a Triton of its own, which listens "
            "on a socket in the run folder: leave the variable unset"
        ]
    wanted = [("CLIPSTACK_PORT", settings.host.strip("[]"), settings.port)]
    if settings.triton_metrics_port:
        wanted.append(("CLIPSTACK_TRITON_METRICS_PORT", "127.0.0.1", settings.triton_metrics_port))
    return [
        f"cannot listen on {host}:{port} ({reason}{holder(port)}): stop what does, or set {variable} to another"
        for variable, host, port in wanted
        if (reason := why_not(host, port))
    ]


def triton_key(settings: Settings) -> list[str]:
    """Return what is wrong with the key file that was named for a Triton on TCP."""
    if not settings.triton_address or not settings.triton_key_file:
        return []
    try:
        why = "" if settings.triton_key_path.read_text().strip() else "it is empty"
    except OSError as error:
        why = error.strerror or str(error)
    named = f"CLIPSTACK_TRITON_KEY_FILE={settings.triton_key_file}"
    return (
        [f"{named}: {why}; it must hold Triton's key, and user {os.geteuid()} must be able to read it"] if why else []
    )


def _tls(settings: Settings) -> list[str]:
    """Whether nginx could speak TLS with the files it is to use."""
    if not settings.tls:
        return []
    try:
        tls.check(settings.tls_cert, settings.tls_key)
    except tls.Unusable as error:
        return [str(error)]
    return []


def gpu_decoding(settings: Settings) -> list[str]:
    """What can be known of it before a worker tries: what only CUDA knows stops that worker."""
    if settings.decoder_device != "cuda":
        return []
    missing = [name for name in ("torch", "cuda") if not find_spec(name)]
    reasons = [f"{name} is missing: pip install 'clipstack[gpu-decode]'" for name in missing]
    try:
        discovery.usable()
    except discovery.NoGpu as error:
        reasons.append(f"there is no GPU: {error}")
    return [f"CLIPSTACK_DECODER_DEVICE is cuda, and {reason}" for reason in reasons]


def needed_memory(settings: Settings) -> int:
    """Bytes of /dev/shm that a stack takes."""
    return (settings.web_workers + JOB_REGIONS) * settings.slots * (settings.slot_mb << 20) + SPARE_SHM


def _shared_memory(settings: Settings) -> list[str]:
    from app.shm.pool import remove_stale_regions  # which Triton's container does not have

    remove_stale_regions()  # of a container that died: what Triton still maps of them counts until it is told
    need = needed_memory(settings)
    memory = os.statvfs("/dev/shm")
    free = memory.f_bavail * memory.f_frsize
    if free >= need:
        return []
    return [
        f"/dev/shm has {free >> 20} MiB free and {need >> 20} are needed: "
        "make it larger, or lower CLIPSTACK_SLOTS or CLIPSTACK_WEB_WORKERS"
    ]
