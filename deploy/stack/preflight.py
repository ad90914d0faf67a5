"""Checks before the stack starts; each problem says what to do about it."""

import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from app.settings import CHECKOUT, GRPC_SOCKET, Settings
from deploy.gpu import discovery
from deploy.nginx import tls
from deploy.stack import users
from deploy.stack.paths import FETCH_SOCKET, JOBS_TEMPORARY_FOLDER, KEY_CHECK_SOCKET, WEB_SOCKET, program
from deploy.stack.ports import bind_error, holders

SOCKET_PATH_LIMIT = 107  # bytes; sockaddr_un holds 108 including the final zero
SANDBOX_TRIAL_S = 60.0  # timeout of the sandbox trial; it takes one second on an idle machine
JOB_REGIONS = 1  # the job worker has its own slots
SPARE_SHM = 64 << 20  # bytes for Triton's own regions and gunicorn's heartbeat files


class Problem(NamedTuple):
    """Something that prevents a start, and what to do about it."""

    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message}. {self.fix}."


def stack_problems(settings: Settings, checkout: Path = CHECKOUT) -> list[Problem]:
    """Return everything that prevents a start; empty when nothing does."""
    return [
        *installation_problems(settings, checkout),
        *_ports(settings),
        *_tls(settings),
        *_shared_memory(settings),
        *_webhooks(settings),
        *_tracing(settings),
    ]


def web_problems(settings: Settings) -> list[Problem]:
    """Return what prevents the start of a container that holds nginx and web only."""
    return [
        *_socket_paths(settings),
        *_tls(settings),
        *_shared_memory(settings),
        *_gpu_decoding(settings),
        *_webhooks(settings),
        *_tracing(settings),
        *triton_key_problems(settings),
        *triton_tls_problems(settings, needed="CA"),
        *sandbox_problems(settings, users.User.current()),
    ]


def triton_problems(settings: Settings) -> list[Problem]:
    """Return what prevents the start of a container that holds Triton only."""
    return [*_default_model(settings), *_socket_paths(settings), *triton_tls_problems(settings, needed="CERT")]


def installation_problems(settings: Settings, checkout: Path = CHECKOUT) -> list[Problem]:
    """Return what is missing or set wrongly, whatever else runs on this machine."""
    return [
        *_programs(checkout),
        *_default_model(settings),
        *_socket_paths(settings),
        *_triton_address(settings),
        *_gpu_decoding(settings),
    ]


def sandbox_problems(settings: Settings, user: users.User) -> Iterator[Problem]:
    """Yield the sandbox layer that `user`'s decoders lack, if CLIPSTACK_SANDBOX requires all of them.

    A trial process determines it.
    """
    if settings.sandbox != "required":
        return
    trial = try_layers(settings.sandbox, user)
    if trial.returncode:
        reason = trial.stderr.strip().rpartition("\n")[2]
        yield Problem(
            f"CLIPSTACK_SANDBOX is required, but {user.name}'s decoders cannot have every layer: {reason}",
            "Use a newer kernel, or a container that allows the layer (docs/security.md), or CLIPSTACK_SANDBOX=best",
        )


def try_layers(mode: str, user: users.User, timeout_s: float = SANDBOX_TRIAL_S) -> subprocess.CompletedProcess[str]:
    """Run `python -m app.sandbox` as `user` and return its result; raise TimeoutExpired after `timeout_s`."""
    other = user.uid != os.geteuid()
    return subprocess.run(
        [sys.executable, "-m", "app.sandbox"],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": os.environ.get("PATH", os.defpath), "CLIPSTACK_SANDBOX": mode},
        text=True,
        timeout=timeout_s,
        user=user.uid if other else None,
        group=user.gid if other else None,
        extra_groups=[] if other else None,
        check=False,
    )


def _programs(checkout: Path) -> Iterator[Problem]:
    try:
        program("nginx")
    except FileNotFoundError as error:
        yield Problem(str(error), "Run `make setup`, or `apt-get install nginx-light`")
    if not os.access(checkout / ".runtime" / "triton" / "bin" / "tritonserver", os.X_OK):
        yield Problem("Triton is not unpacked", "Run `make setup`")


def _default_model(settings: Settings) -> Iterator[Problem]:
    """Yield a problem unless the default model has been exported; other models may be missing or broken."""
    model = settings.model_dir / settings.model
    if not (model / "config.pbtxt").is_file():
        yield Problem(
            f"There is no model {settings.model!r} in {settings.model_dir}",
            "Set CLIPSTACK_MODEL to the name of a folder there, or run `make setup` for the bundled models",
        )
    elif not any(path.is_dir() and path.name.isdecimal() for path in model.iterdir()):
        yield Problem(f"The model {settings.model!r} has not been exported", "Run `make setup`")


def _socket_paths(settings: Settings) -> Iterator[Problem]:
    """Yield a problem when the longest socket path exceeds the system's limit."""
    candidates = (
        settings.run_dir / "supervisor.sock.4194304",  # Supervisor first binds a name that ends in its pid
        settings.run_dir / WEB_SOCKET,
        settings.run_dir / KEY_CHECK_SOCKET,
        settings.run_dir / FETCH_SOCKET,
        settings.triton_sockets / GRPC_SOCKET,
        # multiprocessing's, in each worker
        settings.run_dir / JOBS_TEMPORARY_FOLDER / "pymp-12345678" / "listener-12345678",
    )
    length, longest = max((len(os.fsencode(path)), path) for path in candidates)
    if length > SOCKET_PATH_LIMIT:
        yield Problem(
            f"The socket path {longest} has {length} bytes; the limit is {SOCKET_PATH_LIMIT}",
            "Set CLIPSTACK_RUN_DIR to a shorter folder, such as /run/clipstack",
        )


def _triton_address(settings: Settings) -> Iterator[Problem]:
    if settings.triton_address:
        yield Problem(
            f"CLIPSTACK_TRITON_ADDRESS is {settings.triton_address}, but this stack starts its own Triton, which "
            "listens on a socket in the run folder",
            "Unset CLIPSTACK_TRITON_ADDRESS: it is for containers and for a Triton on another machine",
        )


def _ports(settings: Settings) -> Iterator[Problem]:
    candidates = [("CLIPSTACK_PORT", settings.host.strip("[]"), settings.port)]
    if settings.triton_metrics_port:
        candidates.append(("CLIPSTACK_TRITON_METRICS_PORT", "127.0.0.1", settings.triton_metrics_port))
    for setting, host, port in candidates:
        if reason := bind_error(host, port):
            yield Problem(
                f"Cannot listen on {host}:{port} ({reason}{holders(port)})",
                f"Stop the program that listens there, or set {setting} to a free port",
            )


def triton_key_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with the configured key file of a Triton on TCP."""
    if not settings.triton_address or not settings.triton_key_file:
        return
    try:
        reason = "" if settings.triton_key_path.read_text().strip() else "it is empty"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        yield Problem(
            f"CLIPSTACK_TRITON_KEY_FILE={settings.triton_key_file} cannot be used: {reason}",
            f"Write Triton's key to it, and let user {os.geteuid()} read it",
        )


def triton_tls_problems(settings: Settings, needed: str) -> Iterator[Problem]:
    """Yield what is wrong with the files for TLS with Triton; `needed` is the one that this side cannot do without."""
    if not settings.triton_tls:
        return
    ca, cert, key, _ = settings.triton_tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    loads: dict[str, tuple[str, Callable[[], None]]] = {
        "CA": (ca, lambda: context.load_verify_locations(ca)),
        "CERT": (cert, lambda: context.load_cert_chain(cert, key, password="")),  # asks nobody for a passphrase
    }
    for name, (path, load) in loads.items():
        variable = f"CLIPSTACK_TRITON_TLS_{name}"
        if path:
            try:
                load()
            except OSError as error:
                fix = f"Let it name a file in PEM format that user {os.geteuid()} can read (docs/remote-triton.md)"
                yield Problem(f"{variable}={path} cannot be used: {error.strerror or error}", fix)
        elif name == needed:
            fix = "Set it, or unset all CLIPSTACK_TRITON_TLS_*"
            yield Problem(f"{variable} is missing: this side needs it for TLS with Triton", fix)


def _tls(settings: Settings) -> Iterator[Problem]:
    """Yield why nginx could not use the configured certificate and key."""
    if settings.tls:
        try:
            tls.check(settings.tls_cert, settings.tls_key)
        except tls.Unusable as error:
            yield Problem(str(error), "`make doctor CHECK=certificate` says what to do")


def _webhooks(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with the configured file of secrets."""
    if not settings.webhooks or not settings.webhook_secret_file:
        return
    from app.jobs.webhooks import signing  # Triton's container does not have this module

    try:
        signing.read(settings.webhook_secret_path)
    except signing.InvalidSecret as error:
        yield Problem(str(error), "Correct the file, or unset CLIPSTACK_WEBHOOK_SECRET_FILE to have one created")


def _tracing(settings: Settings) -> Iterator[Problem]:
    if settings.otel_endpoint and (not find_spec("opentelemetry") or not find_spec("opentelemetry.sdk")):
        yield Problem("CLIPSTACK_OTEL_ENDPOINT is set, but OpenTelemetry is missing", "Run `deploy/setup otel`")


def _gpu_decoding(settings: Settings) -> Iterator[Problem]:
    """Yield what is missing for decoding on the GPU; errors that only CUDA can detect stop the worker later."""
    if settings.decoder_device != "cuda":
        return
    setting = "CLIPSTACK_DECODER_DEVICE is cuda"
    for name in ("torch", "cuda"):
        if not find_spec(name):
            yield Problem(f"{setting}, but {name} is missing", "Run `.venv/bin/pip install -e '.[gpu-decode]'`")
    try:
        discovery.usable()
    except discovery.NoGpu as error:
        fix = "Unset CLIPSTACK_DECODER_DEVICE, or repair the driver: `python -m deploy.gpu.discovery` lists the GPUs"
        yield Problem(f"{setting}, but there is no GPU: {error}", fix)


def needed_memory(settings: Settings) -> int:
    """Return the bytes of /dev/shm that the stack needs."""
    return (settings.web_workers + JOB_REGIONS) * settings.slots * (settings.slot_mb << 20) + SPARE_SHM


def _shared_memory(settings: Settings) -> Iterator[Problem]:
    from app.shm.pool import remove_stale_regions  # Triton's container does not have this module

    remove_stale_regions()  # left by a dead container; memory that Triton still maps counts until it unregisters it
    need = needed_memory(settings)
    memory = os.statvfs("/dev/shm")
    free = memory.f_bavail * memory.f_frsize
    if free < need:
        yield Problem(
            f"/dev/shm has {free >> 20} MiB free, but {need >> 20} MiB are needed",
            "Enlarge it, or lower CLIPSTACK_SLOTS or CLIPSTACK_WEB_WORKERS",
        )
