"""Paths in the run folder that more than one part of deploy/ uses."""

import os
import shutil
from hashlib import sha256
from pathlib import Path

# Relative to the run folder
WEB_SOCKET = "web/web.sock"  # gunicorn listens on it, nginx connects to it
KEY_CHECK_SOCKET = "web/keys.sock"  # web workers answer nginx's key checks on it (app/auth/key_check.py)
BACKLOG_FLAGS = "web/backlog"  # web publishes its backlog to nginx (app/admission/flags.py)
REJECT_FLAGS = "web/shut"  # web tells nginx which clients to reject (app/admission/flags.py)
WORKER_STATUS = "web/crew"  # web workers publish their status (app/pipeline/readiness.py)
METRICS_FOLDER = "web/metrics"  # counters of web and jobs (app/metrics/multiprocess.py)
TEMPORARY_FOLDER = "web/tmp"
# Separate, because a start of web clears the shared one, which would remove the sockets that start decoders
JOBS_TEMPORARY_FOLDER = "web/jobs"
FETCH_SOCKET = "fetch/fetch.sock"  # the fetcher listens on it (app/fetch/server.py)
WATCHDOG_METRICS = "watchdog/watchdog.prom"  # in Prometheus' text format
URL_FILE = "url"  # the running stack's URL; the clipstack command reads it


def triton_regions(run_dir: Path) -> str:
    """Return the name prefix in /dev/shm of the memory that Triton shares with its backends.

    The prefix is derived from the run folder: no two stacks share it, and a start finds what a killed predecessor left.
    """
    return f"triton-{sha256(os.fsencode(run_dir)).hexdigest()[:12]}-"


def program(name: str) -> str:
    """Return the full path of a program, in /usr/sbin too; raise FileNotFoundError if it is not installed."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise FileNotFoundError(f"{name} is not installed: run `make setup`")
    return path
