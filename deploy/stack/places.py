"""Where things are that more than one part of deploy/ must find."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path


def triton_regions(run_dir: Path) -> str:
    """Return what the names in /dev/shm begin with of the memory that Triton shares with its backends.

    Made of the run folder: no two stacks have the same, and a start finds what a killed predecessor left.
    """
    return f"triton-{sha256(os.fsencode(run_dir)).hexdigest()[:12]}-"


def web_socket(run_dir: Path) -> Path:
    """Where gunicorn listens and nginx connects."""
    return run_dir / "web" / "web.sock"


def key_check_socket(run_dir: Path) -> Path:
    """Where web workers answer nginx's key checks (app/auth/key_check.py)."""
    return run_dir / "web" / "keys.sock"


def backlog(run_dir: Path) -> Path:
    """Where web tells nginx how much there is to do (app/admission/backlog_flag.py)."""
    return run_dir / "web" / "backlog"


def crew(run_dir: Path) -> Path:
    """Where web workers tell what they lack (app/pipeline/readiness.py)."""
    return run_dir / "web" / "crew"


def shut(run_dir: Path) -> Path:
    """Where web tells nginx whom to refuse (app/admission/reject_flags.py)."""
    return run_dir / "web" / "shut"


def temporary(run_dir: Path) -> Path:
    """Temporary folder of the programs."""
    return run_dir / "web" / "tmp"


def jobs_temporary(run_dir: Path) -> Path:
    """The job worker's own: a start of web clears the other, and with it the sockets that decoders are started by."""
    return run_dir / "web" / "jobs"


def metrics(run_dir: Path) -> Path:
    """What web and jobs count (app/metrics/multiprocess.py)."""
    return run_dir / "web" / "metrics"


def watchdog_numbers(run_dir: Path) -> Path:
    """What the watchdog saw and did, for Prometheus."""
    return run_dir / "watchdog" / "watchdog.prom"


def address(run_dir: Path) -> Path:
    """Return the file with the address at which the running stack is reached; clipstack reads it."""
    return run_dir / "url"


def program(name: str) -> str:
    """Full path of a program, also where /usr/sbin is not on the PATH; raises FileNotFoundError."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not found:
        raise FileNotFoundError(f"{name} is not installed: run `make setup`")
    return found
