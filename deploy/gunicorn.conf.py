"""Gunicorn's settings; read by gunicorn alone. Reference: https://docs.gunicorn.org/en/stable/settings.html"""

import gc
from typing import Any

from app import start, stop
from app.settings import Settings
from deploy import gpus
from deploy.places import web_socket

settings = Settings.from_environment()

# CUDA's numbers of the GPUs that hold workers' slots; asked again at a reload, which reads this file again
numbers: list[int] = []
if settings.transport in ("auto", "cuda"):
    try:
        numbers = [gpu.number for gpu in gpus.usable()]
    except gpus.NoGpu as reason:
        print(f"no GPU, slots are in system shared memory: {reason}", flush=True)

bind = f"unix:{web_socket(settings.run_dir)}"
umask = 0o007  # the socket: 0770, for our user and group; the default is open to everybody
pidfile = str(settings.run_dir / "web" / "web.pid")
control_socket_disable = True  # it would be made in the home folder, for a command nobody uses here

worker_class = "gthread"  # the pipeline waits on its own event loop; a thread holds only the connection
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

# nginx bounds the request line and the headers; these answer in HTML
limit_request_line = 0
limit_request_field_size = 16384
limit_request_fields = 32768
forwarder_headers = ""  # no header of a request sets SCRIPT_NAME or PATH_INFO

accesslog = None  # nginx writes it
errorlog = "-"
loglevel = settings.log_level


def pre_fork(server: Any, worker: Any) -> None:
    """In the master, right before a worker: its GPU."""
    taken = [living.gpu for living in server.WORKERS.values()]
    worker.gpu = gpus.next_place(taken, numbers) if numbers else None


def when_ready(server: Any) -> None:
    """In the master, before the first fork."""
    _remove_stale_regions()
    gc.collect()
    gc.freeze()  # else the collector touches every object and the workers' shared pages are copied


def post_worker_init(worker: Any) -> None:
    """In a new worker: event loop, decoders and channels are made here; none of them survives a fork."""
    start(worker.app.wsgi(), worker.gpu)


def worker_exit(server: Any, worker: Any) -> None:
    """In a worker that ends in order."""
    if worker.booted:
        stop(worker.app.wsgi())


def child_exit(server: Any, worker: Any) -> None:
    """In the master, when a worker has ended, killed ones too."""
    _remove_stale_regions()


def _remove_stale_regions() -> None:
    from app.slots import remove_stale_regions

    remove_stale_regions()
