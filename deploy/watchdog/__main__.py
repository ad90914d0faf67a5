"""Looks after the programs of one supervisord, until it is told to end.

python -m deploy.watchdog       (Supervisor does; settings come from the environment)
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from app.settings import CHECKOUT, Settings
from deploy.supervision import Supervision
from deploy.watchdog.canaries import Away, Canaries
from deploy.watchdog.judge import Judge, Limit

CHECK_S = 3.0
# Beyond these a restart has not helped, and will not
RESTARTS, WITHIN_S = 5, 600.0
STARTS, STARTS_WITHIN_S = 1, 10.0

log = logging.getLogger("deploy.watchdog")


class Watchdog:
    """One look at everything with each `look`."""

    def __init__(self, supervision: Supervision, canaries: Canaries) -> None:
        self._supervision, self._canaries = supervision, canaries
        self._judge, self._restarts = Judge(), Limit(RESTARTS, WITHIN_S)
        self._starts: dict[str, Limit] = defaultdict(lambda: Limit(STARTS, STARTS_WITHIN_S))
        self._server = 0  # pid of the Triton that the judge knows

    def look(self) -> None:
        programs = self._supervision.programs()
        for name, program in programs.items():
            if program.state == "FATAL" and self._starts[name].allows(time.monotonic()):
                log.error("%s was given up by Supervisor and is started again", name)
                self._supervision.start(name)
        triton = programs.get("triton")
        if triton and triton.state == "RUNNING":
            self._look_at_models(triton.pid)

    def _look_at_models(self, pid: int) -> None:
        if pid != self._server:
            self._judge.forget()
            self._server = pid
        try:
            told = self._canaries.ask()
        except Away as error:
            log.debug("Triton does not answer: %s", error)
            return
        stuck = self._judge.stuck(told)
        if not stuck:
            return
        why = "; ".join(f"{key}: {told[key].fault}" for key in stuck)
        if not self._restarts.allows(time.monotonic()):
            log.error("Triton was restarted %d times in %g s, and %s", RESTARTS, WITHIN_S, why)
            return
        # Not by a signal that it can finish its work at: it would wait for the very process that hangs
        log.error("Triton is restarted: %s", why)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def main() -> None:
    settings = Settings.from_environment()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    config = CHECKOUT / "supervisor" / "supervisord.conf"
    _, _, port = settings.triton_address.rpartition(":")
    canaries = Canaries(f"127.0.0.1:{port}")  # only of a Triton beside us; another container has its own watchdog
    watchdog = Watchdog(Supervision(Path(sys.executable), config, settings.run_dir), canaries)
    while not end.wait(CHECK_S):
        try:
            watchdog.look()
        except Exception:
            log.exception("the watchdog goes on after a mistake")
    canaries.close()


if __name__ == "__main__":
    main()
