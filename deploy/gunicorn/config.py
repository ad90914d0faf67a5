"""Gunicorn's settings; read by gunicorn alone. Reference: https://docs.gunicorn.org/en/stable/settings.html"""

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
from deploy.stack.places import key_check_socket, metrics, web_socket

settings = Settings.from_environment()

# CUDA's numbers of the GPUs that hold workers' slots; asked again at a reload, which reads this file again
numbers: list[int] = []
if settings.transport in ("auto", "cuda"):
    try:
        numbers = [gpu.number for gpu in discovery.usable()]
    except discovery.NoGpu as reason:
        print(f"no GPU, slots are in system shared memory: {reason}", flush=True)

retiring: list[int] = []  # at a reload: old workers, the oldest first, that no new one has been made for yet

bind = [f"unix:{web_socket(settings.run_dir)}"]
if (
    settings.asks_for_keys
):  # a listener with a backlog of its own, served by threads of its own (deploy/gunicorn/worker.py)
    bind.append(f"unix:{key_check_socket(settings.run_dir)}")
umask = 0o117  # the socket: 0660, for our user and group; the default is open to everybody
pidfile = str(settings.run_dir / "web" / "web.pid")
control_socket_disable = True  # it would be made in the home folder, for a command nobody uses here

# A thread of gthread; what gunicorn itself refuses is told by nginx (deploy/gunicorn/worker.py)
worker_class = (
    "deploy.gunicorn.worker.Worker"  # the pipeline waits on its own event loop; a thread holds only the connection
)
workers = settings.web_workers
threads = settings.web_threads
worker_connections = settings.web_threads  # accept no more than can be held: what waits inside is invisible
backlog = 64  # beyond it connect() fails at once and nginx answers 503; the default 2048 hides a queue
keepalive = 0  # nginx opens a connection a request

preload_app = True  # code in the master, shared by all workers; nothing with threads starts before the fork
worker_tmp_dir = "/dev/shm"  # the heartbeat file: on a disk it may block
timeout = 20  # seconds without a heartbeat: a stopped worker, not a slow request
graceful_timeout = 30
max_requests = 0  # no leak to hide; a restart drops the worker's region and decoders

# nginx bounds the size of the request line and of the headers, and cannot count them
limit_request_line = 0
limit_request_field_size = 16384
limit_request_fields = 100 + 8  # a client's, and those that nginx adds; more is 431
forwarder_headers = ""  # no header of a request sets SCRIPT_NAME or PATH_INFO


class logger_class(Logger):  # type: ignore[misc]
    """Gunicorn's own lines look like all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter(settings.log_format))


accesslog = None  # nginx writes it
errorlog = "-"
loglevel = settings.log_level


def on_reload(server: Any) -> None:
    """In the master, before the new workers: without this the old ones would end before anybody takes their place."""
    retiring[:] = sorted(server.WORKERS, key=lambda pid: server.WORKERS[pid].age)
    server.num_workers = server.cfg.workers + len(retiring)  # until the first of them has ended


def pre_fork(server: Any, worker: Any) -> None:
    """In the master, right before a worker: its GPU, and the old worker whose place it takes."""
    taken = [living.gpu for living in server.WORKERS.values()]
    worker.gpu = discovery.next_place(taken, numbers) if numbers else None
    worker.predecessor = retiring.pop(0) if retiring else None


def when_ready(server: Any) -> None:
    """In the master, before the first fork."""
    _remove_stale_regions()
    warmup.files()  # once for all workers
    gc.collect()
    gc.freeze()  # else the collector touches every object and the workers' shared pages are copied


def post_worker_init(worker: Any) -> None:
    """In a new worker: event loop, decoders and channels are made here; none of them survives a fork.

    It takes requests after this: warm, unless Triton is away.
    """
    start(worker.app.wsgi(), worker.gpu)
    worker.start_key_checks()
    if worker.predecessor is not None:
        with suppress(ProcessLookupError):
            os.kill(worker.predecessor, signal.SIGTERM)


def worker_exit(server: Any, worker: Any) -> None:
    """In a worker that ends in order."""
    if worker.booted:
        stop(worker.app.wsgi())


def child_exit(server: Any, worker: Any) -> None:
    """In the master, when a worker has ended, killed ones too."""
    server.num_workers = server.cfg.workers
    multiprocess.bury(metrics(settings.run_dir))
    _remove_stale_regions()


def _remove_stale_regions() -> None:
    from app.shm.pool import remove_stale_regions

    remove_stale_regions()
