"""Gunicorn's configuration, loaded by gunicorn itself.

Reference: https://docs.gunicorn.org/en/stable/settings.html
"""

import gc
import os
import signal
from contextlib import suppress
from typing import Any

from gunicorn.glogging import Logger

from app import logs, start, stop
from app.decoding import warmup
from app.metrics import multiprocess
from app.settings import Settings
from deploy.gpu import discovery
from deploy.stack.paths import KEY_CHECK_SOCKET, METRICS_FOLDER, WEB_SOCKET

settings = Settings.from_environment()

gc.disable()  # until the fork: nothing that the imports make is garbage, and collections take a tenth of their time

# CUDA indices of the GPUs that hold the workers' slots. A reload reads this file again and so refreshes them.
numbers: list[int] = []
if settings.transport in ("auto", "cuda"):
    try:
        numbers = [gpu.number for gpu in discovery.usable()]
    except discovery.NoGpu as reason:
        print(f"no GPU, slots are in system shared memory: {reason}", flush=True)

retiring: list[int] = []  # pids of old workers, oldest first, that have no replacement yet during a reload

bind = [f"unix:{settings.run_dir / WEB_SOCKET}"]
if settings.asks_for_keys:  # a separate listener with its own backlog and threads (deploy/gunicorn/worker.py)
    bind.append(f"unix:{settings.run_dir / KEY_CHECK_SOCKET}")
umask = 0o117  # socket mode 0660: our user and group only; gunicorn's default lets every user connect
pidfile = str(settings.run_dir / "web" / "web.pid")
control_socket_disable = True  # gunicorn would create it in the home folder; nothing here uses it

# Threaded worker; nginx writes the response to requests that gunicorn itself rejects (deploy/gunicorn/worker.py).
worker_class = (
    "deploy.gunicorn.worker.Worker"  # the pipeline waits on its own event loop; a thread holds only the connection
)
workers = settings.web_workers
threads = settings.web_threads
worker_connections = settings.web_threads  # accept no more than the threads can hold: a queue inside is invisible
backlog = 64  # when full, connect() fails at once and nginx answers 503; the default 2048 hides a queue
keepalive = 0  # nginx opens one connection per request

preload_app = True  # load code in the master so workers share its memory; no threads start before the fork
worker_tmp_dir = "/dev/shm"  # heartbeat file: writes to a disk may block
timeout = 20  # seconds without a heartbeat: catches a stopped worker, not a slow request
graceful_timeout = 30
max_requests = 0  # no leak to hide; a restart would drop the worker's region and decoders

# nginx limits the size of the request line and headers, but not the number of headers.
limit_request_line = 0
limit_request_field_size = 16384
limit_request_fields = 100 + 8  # the client's headers plus those that nginx adds; more is 431
forwarder_headers = ""  # no request header may set SCRIPT_NAME or PATH_INFO


class logger_class(Logger):  # type: ignore[misc]  # noqa: N801 -- the name of a setting
    """Gunicorn logger that uses the service's log format."""

    def setup(self, cfg: Any) -> None:
        """Set up gunicorn's log and give its handlers the service's formatter."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter(settings.log_format))


accesslog = None  # nginx writes it
errorlog = "-"
loglevel = settings.log_level


def on_reload(server: Any) -> None:
    """Keep the old workers alive until each has a replacement; runs in the master.

    By default gunicorn stops them as soon as the new ones have been forked.
    """
    retiring[:] = sorted(server.WORKERS, key=lambda pid: server.WORKERS[pid].age)
    server.num_workers = server.cfg.workers + len(retiring)  # until the first old worker has exited


def pre_fork(server: Any, worker: Any) -> None:
    """Choose the new worker's GPU and the old worker it replaces; runs in the master before each fork."""
    taken = [living.gpu for living in server.WORKERS.values()]
    worker.gpu = discovery.least_used(taken, numbers) if numbers else None
    worker.predecessor = retiring.pop(0) if retiring else None


def when_ready(server: Any) -> None:
    """Warm up the code that all workers share; runs in the master before the first fork."""
    _remove_stale_regions()
    warmup.files()  # once for all workers
    gc.collect()
    gc.freeze()  # otherwise a collection touches every object and copies the workers' shared pages


def post_fork(server: Any, worker: Any) -> None:
    """Let the new worker collect garbage."""
    gc.enable()


def post_worker_init(worker: Any) -> None:
    """Create the event loop, decoders and channels of a new worker; none of them survives a fork.

    The worker takes requests after this call: warm, unless Triton is unavailable.
    """
    start(worker.app.wsgi(), worker.gpu)
    worker.start_key_checks()
    if worker.predecessor is not None:
        with suppress(ProcessLookupError):
            os.kill(worker.predecessor, signal.SIGTERM)


def worker_exit(server: Any, worker: Any) -> None:
    """Stop the app in a worker that exits in order."""
    if worker.booted:
        stop(worker.app.wsgi())


def child_exit(server: Any, worker: Any) -> None:
    """Remove what an exited worker left behind; runs in the master, for killed workers too."""
    server.num_workers = server.cfg.workers
    multiprocess.remove_dead_gauges(settings.run_dir / METRICS_FOLDER)
    _remove_stale_regions()


def _remove_stale_regions() -> None:
    from app.shm.pool import remove_stale_regions

    remove_stale_regions()
