"""Webhook program: sends events to receivers until it receives SIGTERM.

Supervisor starts it as `python -m app.jobs.webhooks`. Settings come from the environment.
"""

import asyncio
import logging
import os
import signal

from app import logs
from app.files import file_lock
from app.jobs.storage.retention import DAY_S
from app.jobs.storage.store import JobStore
from app.jobs.webhooks import signing
from app.jobs.webhooks.dispatcher import Dispatcher
from app.jobs.webhooks.hosts import AllowedHosts
from app.jobs.webhooks.outbox import Delivery
from app.jobs.webhooks.sender import Sender
from app.settings import Settings

log = logging.getLogger("app.jobs.webhooks")


def main() -> None:
    """Run the dispatcher until this process is asked to stop."""
    settings = Settings.from_environment(os.environ)
    logs.set_up(settings.log_level, settings.log_format)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    # One sender at a time: a process that was killed may have left one that still ends
    with file_lock(settings.data_dir / "webhooks.lock"):
        asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        keys = signing.read(settings.webhook_secret_path)
    except signing.InvalidSecret as error:
        raise SystemExit(f"clipstack: {error}") from error

    def sign(event: Delivery) -> dict[str, str]:
        return signing.signature_headers(keys, event.owner, event.id, event.body)

    store = JobStore(settings.data_dir / "jobs")
    hosts = AllowedHosts(settings.webhooks)
    log.info("webhooks go to %s", settings.webhooks or "no host")
    await Dispatcher(store.outbox, Sender(hosts, sign), settings.job_days * DAY_S).run(stopping)
    store.close()


if __name__ == "__main__":
    main()
