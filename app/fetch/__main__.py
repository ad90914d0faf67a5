"""Fetcher process: downloads files for web and the job worker until it receives SIGTERM.

Usage: python -m app.fetch DESCRIPTOR

DESCRIPTOR is the listening socket, which deploy/stack/launch.py opens before it drops its rights. Settings come from
the environment. The process can open no file of the service: it writes to descriptors that it is passed.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys

from app import logs
from app.fetch.download import Downloader
from app.fetch.object_store import ObjectStores
from app.fetch.server import FetchServer
from app.settings import Settings, fetch_rules

log = logging.getLogger("app.fetch")


def main(arguments: list[str]) -> None:
    """Serve on the socket named in `arguments`."""
    settings = Settings.from_environment(os.environ)
    logs.set_up(settings.log_level, settings.log_format)
    for name in ("httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is then an OSError
    resource.setrlimit(resource.RLIMIT_FSIZE, (settings.max_upload_mb << 20, settings.max_upload_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rules = fetch_rules.parse(settings.fetch)
    listener = socket.socket(fileno=int(arguments[0]))
    log.info("downloads from %d hosts and %d buckets", len(rules.hosts), len(rules.buckets))
    asyncio.run(_serve(FetchServer(listener, rules, Downloader(rules), ObjectStores(rules))))


async def _serve(server: FetchServer) -> None:
    task = asyncio.ensure_future(server.serve())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    main(sys.argv[1:])
