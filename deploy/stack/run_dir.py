"""Run folder of a stack, and the environment of its programs, made from the settings.

<run_dir>/  supervisor.sock  *.pid  settings.json     owned by the user that starts the stack
            logs/  nginx/ (its configuration)  triton/ (its working directory)
            web/ (socket, pid, waiting, tmp/, backlog/, shut/, metrics/)  uploads/  tmp/  gpu/ (models placed on GPUs)
            sockets/ (Triton's)  watchdog/ (its metrics)  fetch/ (its socket)
                                                  owned by the user that the programs run as
<data_dir>/ jobs/  results/  sessions/  uploads/  queue.db      owned by that user too; by default <run_dir>/data
            webhooks/ (their secret)                  owned by that user too, if there are any
            access/ (keys)                            owned by the user that starts the stack, readable by that user
"""

import math
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.settings import METRICS_SOCKET, UPLOAD_LIMITS, Settings
from app.settings import recorded as recorded_settings
from deploy.gpu import discovery
from deploy.nginx import hosts, peers
from deploy.nginx.config import render
from deploy.stack import paths, processes, users

STARTER_FOLDERS = ("logs", "triton")
USER_FOLDERS = (
    *("web", "web/tmp", "web/backlog", "web/shut", "web/quota", "web/metrics"),
    *("uploads", "tmp", "gpu", "sockets", "watchdog", "fetch"),
)
PROGRAMS = ("jobs", "nginx", "triton", "watchdog", "web")
DATA_FOLDERS = ("jobs", "results", "sessions", "uploads")
LOG_BYTES = "20MB"  # size of one log file before Supervisor rotates it
MIN_FORWARDED = 32  # minimum of requests per nginx worker: the workers do not share the load evenly
# nginx passes on this multiple of web's capacity. Web reports when it is full (app/admission/flags.py); this
# bounds the requests that arrive before that.
FORWARDED_SHARE = 2.0
ANSWER_SLACK_S = 15  # nginx waits this much longer than the sum of the pipeline's limits
NOT_INHERITED = ("CLIPSTACK_", "PYTHON", "VIRTUAL_ENV", "SUPERVISOR_")


def fill(settings: Settings, checkout: Path, user: users.User) -> None:
    """Create the folders and files that the programs need at their start.

    Raise ValueError if nginx cannot use the value of a setting.
    """
    run_dir = settings.run_dir
    for name in STARTER_FOLDERS:
        _folder(run_dir / name, 0o750, -1, user.gid)
    for name in USER_FOLDERS:
        _folder(run_dir / name, 0o700, user.uid, user.gid)
    _folder(run_dir, 0o750, -1, user.gid)
    for path in (settings.data_dir, *(settings.data_dir / name for name in DATA_FOLDERS)):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _folder(path, 0o700, user.uid, user.gid)
    _folder(settings.keys_file.parent, 0o750, -1, user.gid)
    if settings.keys_file.exists():
        os.chown(settings.keys_file, -1, user.gid)  # the file may be older than the choice of the service's user
    links = {"backends": checkout / ".runtime" / "triton" / "backends", "models": settings.model_dir}
    for name, target in links.items():
        (run_dir / "triton" / name).unlink(missing_ok=True)
        (run_dir / "triton" / name).symlink_to(target)
    render(checkout / "nginx", run_dir / "nginx", nginx_values(settings, checkout))
    allowed = "".join(f"allow {network};\n" for network in settings.monitors.split(","))
    snippets = run_dir / "nginx" / "snippets"
    (snippets / "monitors.conf").write_text(f"{allowed}deny all;\n")
    (snippets / "address_limit.conf").write_text(_address_limit(settings))
    (snippets / "uploads_of_key.conf").write_text("".join(map(_key_limit, UPLOAD_LIMITS)))
    (snippets / "hosts.conf").write_text(hosts.host_rules(settings))
    (snippets / "origins.conf").write_text(hosts.origin_rules(settings))
    (snippets / "page_origins.conf").write_text(hosts.page_origin_rules(settings))
    (snippets / "peer_upstreams.conf").write_text(peers.upstreams(settings))
    (snippets / "peer_paths.conf").write_text(peers.paths(settings))
    (snippets / "peer_locations.conf").write_text(peers.locations(settings))
    recorded_settings.write(settings)


def programs(settings: Settings, names: Sequence[str] = PROGRAMS) -> str:
    """Return CLIPSTACK_PROGRAMS: Supervisor's files of the programs `names`, and of those that settings turn on."""
    optional = {"fetch": settings.fetch, "webhooks": settings.webhooks}
    used = [name for name, setting in optional.items() if setting and "web" in names]
    return " ".join(f"programs/{name}.conf" for name in (*names, *used))


def make_triton_key(settings: Settings) -> None:
    """Create the random key of a Triton on TCP, readable by this user only; keep an existing one."""
    path = settings.triton_key_path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))


def _address_limit(settings: Settings) -> str:
    """Return nginx's limit of uploads per address; empty with keys, because each key has its own limit."""
    if settings.asks_for_keys:
        return ""
    return f"limit_conn uploads_of_address {settings.max_uploads};\nlimit_conn_status 429;\n"


def _key_limit(limit: int) -> str:
    """Return the location that counts a key's concurrent uploads.

    Web answers a valid key with one of these locations by X-Accel-Redirect. An upload counts until it is answered or
    aborted, because nginx counts it for the main request of this check.
    """
    directives = f"limit_conn uploads_of_key {limit}; include snippets/uploads_of_key_answer.conf;"
    return f"location /_uploads/{limit}/ {{ {directives} }}\n"


def differences(settings: Settings) -> list[str]:
    """Return the names of the settings that differ from those of the stack's last start."""
    started = recorded_settings.read(settings.run_dir)
    return [name for name, value in settings.environment().items() if started.get(name) != value]


def nginx_values(settings: Settings, checkout: Path) -> dict[str, str]:
    """Return the value of each ${CLIPSTACK_...} placeholder in nginx's files."""
    forwarded = FORWARDED_SHARE * settings.web_workers * (settings.max_inflight + settings.max_queue)
    return settings.environment() | {
        "CLIPSTACK_LISTEN": f"{bracketed(settings.host)}:{settings.port}" + (" ssl http2" if settings.tls else ""),
        "CLIPSTACK_TLS": "yes" if settings.tls else "no",
        "CLIPSTACK_ASK_FIRST": "/_key" if settings.asks_for_keys else "off",
        "CLIPSTACK_STATIC": str(checkout / "app"),
        "CLIPSTACK_VIEWER": str(checkout / ".runtime" / "viewer" / "flask_openapi_scalar" / "templates/scalar/js"),
        "CLIPSTACK_WEB_SOCKET": str(settings.run_dir / paths.WEB_SOCKET),
        "CLIPSTACK_KEY_CHECK_SOCKET": str(settings.run_dir / paths.KEY_CHECK_SOCKET),
        "CLIPSTACK_WEB_HOLDS": str(max(MIN_FORWARDED, math.ceil(forwarded / (os.cpu_count() or 1)))),
        "CLIPSTACK_TRITON_METRICS": str(settings.triton_sockets / METRICS_SOCKET),
        "CLIPSTACK_REJECT_FLAGS": str(settings.run_dir / paths.REJECT_FLAGS),
        "CLIPSTACK_BACKLOG": str(settings.run_dir / paths.BACKLOG_FLAGS),
        "CLIPSTACK_ANSWER_TIMEOUT_S": str(settings.longest_answer_s + ANSWER_SLACK_S),
    }


def program_environment(
    settings: Settings,
    python: Path,
    user: users.User,
    environment: Mapping[str, str],
    fetch_user: users.User | None = None,
) -> dict[str, str]:
    """Return the environment of Supervisor and all programs, based on `environment`, that of the starting user."""
    inherited = {name: value for name, value in environment.items() if not name.startswith(NOT_INHERITED)}
    of_stack = {
        processes.MARK: str(settings.run_dir),
        "CLIPSTACK_PYTHON": str(python),
        "CLIPSTACK_RUN_AS": user.name,
        "CLIPSTACK_STARTED_BY": users.User.current().name,
        "CLIPSTACK_FETCH_AS": (fetch_user or user).name,
        "CLIPSTACK_PROGRAMS": programs(settings),
        "CLIPSTACK_LOG_BYTES": LOG_BYTES,
        # Triton's backend imports packages of the first python3 on the PATH.
        "PATH": f"{python.parent}:{environment.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "CUDA_DEVICE_ORDER": discovery.ORDER,  # all programs and the driver must use the same GPU indices
        "TMPDIR": str(settings.run_dir / paths.TEMPORARY_FOLDER),
    }
    return inherited | settings.environment() | of_stack


def bracketed(host: str) -> str:
    """Return `host` in the form used before a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _folder(path: Path, mode: int, uid: int, gid: int) -> None:
    path.mkdir(exist_ok=True)
    os.chown(path, uid, gid)
    path.chmod(mode)
