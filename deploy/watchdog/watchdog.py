"""One look at everything that is to be kept alive, and what follows from it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.gpu import placement
from deploy.stack.supervisor import SupervisorClient
from deploy.watchdog import backend_processes
from deploy.watchdog.health import Backoff, HealthTracker, Observation
from deploy.watchdog.metrics import WatchdogMetrics
from deploy.watchdog.prober import ModelProber, Report, TritonUnreachable
from deploy.watchdog.restarts import RestartHistory

PAUSE_S, SOON_S = 2.0, 0.5  # between looks; when there is something to be sure of
AWAY_S = 60.0  # a server that was stopped for half a minute goes on as if nothing had been

log = logging.getLogger("deploy.watchdog")


@dataclass
class _Server:
    """What is known of one Triton, from its start to its end."""

    pid: int
    judge: HealthTracker = field(default_factory=HealthTracker)
    answered: bool = False
    away_since: float | None = None
    dead: set[int] = field(default_factory=set)  # backend processes, at the last look
    models: dict[int, str] = field(default_factory=dict)  # by backend process, also of those that are dead now


class Watchdog:
    """Of the programs of one supervisord and, where Triton is one of them, of its models in `model_dir`."""

    def __init__(
        self,
        supervision: SupervisorClient,
        canaries: ModelProber,
        ledger: WatchdogMetrics,
        model_dir: Path,
        run_dir: Path,
    ) -> None:
        self._supervision, self._canaries, self._ledger = supervision, canaries, ledger
        self._model_dir, self._run_dir = model_dir, run_dir
        self._starts: dict[str, Backoff] = defaultdict(lambda: Backoff(5.0, 60.0))
        self._loads: dict[str, Backoff] = defaultdict(lambda: Backoff(5.0, 30.0))
        self._restarts = Backoff(15.0, 600.0)
        self._restart_history = RestartHistory()
        self._server = _Server(0)

    def look(self) -> float:
        """Does what is to be done; in how many seconds to look again.

        Raises ConnectionError when there is no supervisord (any more): then there is nothing to do.
        """
        programs = self._supervision.programs()
        if not programs:
            raise ConnectionError("Supervisor does not answer")
        for name, program in programs.items():
            if program.state == "FATAL" and self._starts[name].allows(time.monotonic()):
                log.error("%s, which Supervisor has given up, is started again", name)
                self._ledger.started(name)
                self._supervision.start(name)
        started = {name: program.started for name, program in programs.items()}
        self._ledger.restarts(self._restart_history.note(started, time.monotonic()))
        triton = programs.get("triton")
        if triton and triton.state == "RUNNING":
            self._look_at_server(triton.pid)
        elif triton:
            self._ledger.away(f"it is {triton.state.lower()}")
        self._ledger.write()
        return SOON_S if self._server.dead or self._server.judge.suspects else PAUSE_S

    def _look_at_server(self, pid: int) -> None:
        if pid != self._server.pid:
            self._server = _Server(pid)
        server = self._server
        try:
            report = self._canaries.ask(
                doubts=not server.answered or any(stub.dead for stub in backend_processes.of_server(pid))
            )
        except TritonUnreachable as error:
            self._is_away(str(error))
            return
        server.answered, server.away_since = True, None
        self._ledger.canaries(report.canaries, report.unloaded)
        processes = backend_processes.of_server(pid)
        dead = self._dead(processes, report)
        hopeless = server.judge.hopeless(_seen(report, processes), time.monotonic())
        if dead or hopeless:
            self._restart("dead" if dead else "hung", dead | hopeless)
        else:
            self._load_again(report.unloaded)

    def _dead(self, processes: list[backend_processes.BackendProcess], report: Report) -> dict[str, str]:
        """Versions that do not answer and have lost a process, which was dead at the last look too.

        One that is unloaded is dead for an instant; one that died while it was loaded takes no other model with it.
        """
        server = self._server
        server.models |= {stub.pid: stub.model for stub in processes if stub.model}
        dead = {stub.pid for stub in processes if stub.dead}
        lasting, server.dead = dead & server.dead, dead
        lost = {server.models.get(pid) for pid in lasting}  # None: it died before this watchdog began
        silent = {key: told.why for key, told in report.canaries.items() if told.outcome != "answered"}
        return {key: f"has lost its process: {why}" for key, why in silent.items() if lost & {key, None}}

    def _is_away(self, why: str) -> None:
        """A server that has not answered yet may have much to load."""
        self._ledger.away(why)
        now = time.monotonic()
        self._server.away_since = self._server.away_since or now
        if self._server.answered and now - self._server.away_since >= AWAY_S:
            self._restart("away", {"triton": f"has not answered for {AWAY_S:g} s: {why}"})

    def _restart(self, cause: str, why: dict[str, str]) -> None:
        """Ends Triton with its backend processes; Supervisor starts it anew."""
        reasons = "; ".join(f"{key} {reason}" for key, reason in why.items())
        programs = self._supervision.programs()
        if "triton" not in programs or programs["triton"].pid != self._server.pid:
            return  # it has ended meanwhile
        if not self._restarts.allows(time.monotonic()):
            self._ledger.waits(f"Triton was restarted a moment ago, and {reasons}")
            return
        log.error("Triton is restarted: %s", reasons)
        self._ledger.restarted(cause)
        # Not by a signal that it could finish its work at: it would wait for the very process that hangs
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)

    def _load_again(self, unloaded: dict[str, str]) -> None:
        """Triton itself tries only once, at its start."""
        for name in unloaded:
            if (self._model_dir / name).is_dir() and self._loads[name].allows(time.monotonic()):
                log.error("%s, which Triton could not load, is loaded again", name)
                placement.follow(self._model_dir / name, self._run_dir)
                self._ledger.loaded(name)
                self._canaries.load(name)


def _seen(report: Report, processes: list[backend_processes.BackendProcess]) -> dict[str, Observation]:
    return {
        key: Observation(
            told.outcome, told.why, told.answers, sum(stub.cpu_s for stub in processes if stub.model == key)
        )
        for key, told in report.canaries.items()
    }
