"""Checks before the stack starts; each complaint says what to do about it."""

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
from deploy.stack.ports import bind_error, holders

SOCKET_PATH_LIMIT = 107  # bytes; sockaddr_un holds 108 including the final zero
CONFINED_S = 60.0  # timeout of the sandbox trial; it takes one second on an idle machine
JOB_REGIONS = 1  # the job worker has its own slots
SPARE_SHM = 64 << 20  # bytes for Triton's own regions and gunicorn's heartbeat files


def complaints(settings: Settings, checkout: Path = CHECKOUT) -> list[str]:
    """Return everything that prevents a start; empty when nothing does."""
    return [
        *_programs(checkout),
        *models(settings),
        *sockets(settings),
        *_ports(settings),
        *_tls(settings),
        *_shared_memory(settings),
        *_gpu_decoding(settings),
    ]


def of_web(settings: Settings) -> list[str]:
    """Return what prevents the start of a container that holds nginx and web only."""
    return [
        *sockets(settings),
        *_tls(settings),
        *_shared_memory(settings),
        *_gpu_decoding(settings),
        *triton_key(settings),
        *of_decoders(settings, users.User.current()),
    ]


def of_decoders(settings: Settings, user: users.User) -> list[str]:
    """Return the sandbox layers that `user`'s decoders lack, if CLIPSTACK_SANDBOX requires all of them.

    A trial process determines them.
    """
    if settings.sandbox != "required":
        return []
    trial = try_layers(settings.sandbox, user)
    if trial.returncode == 0:
        return []
    why = trial.stderr.strip().rpartition("\n")[2]
    return [f"CLIPSTACK_SANDBOX is required, and decoders of {user.name} cannot have every layer: {why}"]


def try_layers(mode: str, user: users.User, limit_s: float = CONFINED_S) -> subprocess.CompletedProcess[str]:
    """Run `python -m app.sandbox` as `user` and return its result.

    Raises:
        TimeoutExpired: It took longer than `limit_s`.
    """
    other = user.uid != os.geteuid()
    return subprocess.run(
        [sys.executable, "-m", "app.sandbox"], cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True,
        env={"PATH": os.environ.get("PATH", os.defpath), "CLIPSTACK_SANDBOX": mode}, text=True, timeout=limit_s,
        user=user.uid if other else None, group=user.gid if other else None, extra_groups=[] if other else None,
        check=False,
    )  # fmt: skip


def of_triton(settings: Settings) -> list[str]:
    """Return what prevents the start of a container that holds Triton only."""
    return [*models(settings), *sockets(settings)]


def _programs(checkout: Path) -> list[str]:
    problems = []
    try:
        program("nginx")
    except FileNotFoundError as error:
        problems.append(str(error))
    if not os.access(checkout / ".runtime" / "triton" / "bin" / "tritonserver", os.X_OK):
        problems.append("Triton is not unpacked: run `make setup`")
    return problems


def models(settings: Settings) -> list[str]:
    """Return a complaint unless the default model has been exported; other models may be missing or broken."""
    model = settings.model_dir / settings.model
    if not (model / "config.pbtxt").is_file():
        return [f"there is no model {settings.model!r} in {settings.model_dir} (CLIPSTACK_MODEL)"]
    if not any(path.is_dir() and path.name.isdecimal() for path in model.iterdir()):
        return [f"the model {settings.model!r} has not been exported: run `make setup`"]
    return []


def sockets(settings: Settings) -> list[str]:
    """Return a complaint when the longest socket path exceeds the system's limit."""
    candidates = (
        settings.run_dir / "supervisor.sock.4194304",  # Supervisor first binds a name that ends in its pid
        web_socket(settings.run_dir),
        key_check_socket(settings.run_dir),
        settings.triton_sockets / GRPC_SOCKET,
        jobs_temporary(settings.run_dir) / "pymp-12345678" / "listener-12345678",  # multiprocessing's, in each worker
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
    candidates = [("CLIPSTACK_PORT", settings.host.strip("[]"), settings.port)]
    if settings.triton_metrics_port:
        candidates.append(("CLIPSTACK_TRITON_METRICS_PORT", "127.0.0.1", settings.triton_metrics_port))
    return [
        f"cannot listen on {host}:{port} ({reason}{holders(port)}): stop what does, or set {variable} to another"
        for variable, host, port in candidates
        if (reason := bind_error(host, port))
    ]


def triton_key(settings: Settings) -> list[str]:
    """Return what is wrong with the configured key file of a Triton on TCP."""
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
    """Return why nginx could not use the configured certificate and key."""
    if not settings.tls:
        return []
    try:
        tls.check(settings.tls_cert, settings.tls_key)
    except tls.Unusable as error:
        return [str(error)]
    return []


def missing_for_gpu_decoding(settings: Settings) -> list[str]:
    """Return what is missing for decoding on the GPU; errors that only CUDA can detect stop the worker later."""
    if settings.decoder_device != "cuda":
        return []
    missing = [name for name in ("torch", "cuda") if not find_spec(name)]
    reasons = [f"{name} is missing: .venv/bin/pip install -e '.[gpu-decode]'" for name in missing]
    try:
        discovery.usable()
    except discovery.NoGpu as error:
        reasons.append(f"there is no GPU: {error}")
    return reasons


def _gpu_decoding(settings: Settings) -> list[str]:
    return [f"CLIPSTACK_DECODER_DEVICE is cuda, but {reason}" for reason in missing_for_gpu_decoding(settings)]


def needed_memory(settings: Settings) -> int:
    """Return the bytes of /dev/shm that the stack needs."""
    return (settings.web_workers + JOB_REGIONS) * settings.slots * (settings.slot_mb << 20) + SPARE_SHM


def _shared_memory(settings: Settings) -> list[str]:
    from app.shm.pool import remove_stale_regions  # Triton's container does not have this module

    remove_stale_regions()  # left by a dead container; memory that Triton still maps counts until it unregisters it
    need = needed_memory(settings)
    memory = os.statvfs("/dev/shm")
    free = memory.f_bavail * memory.f_frsize
    if free >= need:
        return []
    return [
        f"/dev/shm has {free >> 20} MiB free and {need >> 20} are needed: "
        "make it larger, or lower CLIPSTACK_SLOTS or CLIPSTACK_WEB_WORKERS"
    ]
