"""Paths in the run folder that more than one part of deploy/ uses."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path


def triton_regions(run_dir: Path) -> str:
    """Return the name prefix in /dev/shm of the memory that Triton shares with its backends.

    The prefix is derived from the run folder: no two stacks share it, and a start finds what a killed predecessor left.
    """
    return f"triton-{sha256(os.fsencode(run_dir)).hexdigest()[:12]}-"


def web_socket(run_dir: Path) -> Path:
    """Return the socket on which gunicorn listens and to which nginx connects."""
    return run_dir / "web" / "web.sock"


def key_check_socket(run_dir: Path) -> Path:
    """Return the socket on which web workers answer nginx's key checks (app/auth/key_check.py)."""
    return run_dir / "web" / "keys.sock"


def backlog_flags(run_dir: Path) -> Path:
    """Return the folder by which web publishes its backlog to nginx (app/admission/flags.py)."""
    return run_dir / "web" / "backlog"


def worker_status(run_dir: Path) -> Path:
    """Return the folder in which web workers publish their status (app/pipeline/readiness.py)."""
    return run_dir / "web" / "crew"


def reject_flags(run_dir: Path) -> Path:
    """Return the folder by which web tells nginx which clients to reject (app/admission/flags.py)."""
    return run_dir / "web" / "shut"


def temporary_folder(run_dir: Path) -> Path:
    """Return the temporary folder of the programs."""
    return run_dir / "web" / "tmp"


def jobs_temporary_folder(run_dir: Path) -> Path:
    """Return the job worker's temporary folder.

    It is separate because a start of web clears the shared one, which would remove the sockets that start decoders.
    """
    return run_dir / "web" / "jobs"


def metrics_folder(run_dir: Path) -> Path:
    """Return the folder of the counters of web and jobs (app/metrics/multiprocess.py)."""
    return run_dir / "web" / "metrics"


def watchdog_metrics(run_dir: Path) -> Path:
    """Return the file with the watchdog's metrics in Prometheus' text format."""
    return run_dir / "watchdog" / "watchdog.prom"


def url_file(run_dir: Path) -> Path:
    """Return the file with the running stack's URL; the clipstack command reads it."""
    return run_dir / "url"


def program(name: str) -> str:
    """Return the full path of a program; also looks in /usr/sbin.

    Raises:
        FileNotFoundError: The program is not installed.
    """
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise FileNotFoundError(f"{name} is not installed: run `make setup`")
    return path
