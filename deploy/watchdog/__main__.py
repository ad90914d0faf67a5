"""Watchdog process of one supervisord; it runs until supervisord is gone.

Usage: python -m deploy.watchdog

Supervisor starts it; the settings come from the environment. It may be killed at any moment: no other program depends
on its state.
"""

import logging
import os
import sys
import time
from pathlib import Path

from app import logs
from app.settings import CHECKOUT, Settings
from deploy.stack import paths
from deploy.stack.fetcher import forget_credentials
from deploy.stack.supervisor import SupervisorClient
from deploy.stack.users import User
from deploy.watchdog.metrics import WatchdogMetrics
from deploy.watchdog.prober import ModelProber
from deploy.watchdog.watchdog import Watchdog

PAUSE_AFTER_ERROR_S = 5.0

log = logging.getLogger("deploy.watchdog")


def main() -> None:
    """Check the stack in a loop; exit when Supervisor no longer answers."""
    settings = Settings.from_environment()
    logs.set_up(settings.log_level, settings.log_format)
    supervisor = SupervisorClient(Path(sys.executable), CHECKOUT / "supervisor" / "supervisord.conf", settings.run_dir)
    # Only the user that started the stack may connect; afterwards drop to the programs' user.
    supervisor.keep_connection()
    User.named(os.environ["CLIPSTACK_RUN_AS"]).become()
    forget_credentials()
    prober = ModelProber(settings.triton_target, settings.triton_key, settings.triton_tls)
    metrics = WatchdogMetrics(settings.run_dir / paths.WATCHDOG_METRICS)
    watchdog = Watchdog(supervisor, prober, metrics, settings.model_dir, settings.run_dir)
    while True:
        pause_s = PAUSE_AFTER_ERROR_S
        try:
            pause_s = watchdog.check()
        except ConnectionError as error:
            sys.exit(str(error))
        except Exception:
            log.exception("a check failed; the watchdog continues")
        time.sleep(pause_s)


if __name__ == "__main__":
    main()
