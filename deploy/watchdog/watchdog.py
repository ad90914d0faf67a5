"""One check of the programs and models, and the repairs that follow."""

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

PAUSE_S, SOON_S = 2.0, 0.5  # between checks, normally and with a suspicion to confirm
AWAY_S = 60.0  # a server that was paused for half a minute resumes without harm
# A model that loads uses the CPU; in one start of some hundred, OpenVINO's Python bindings deadlock while it loads.
STUCK_S, STUCK_CPU_S = 20.0, 0.1

log = logging.getLogger("deploy.watchdog")


@dataclass
class _Server:
    """State of one Triton process, from its start to its end."""

    pid: int
    judge: HealthTracker = field(default_factory=HealthTracker)
    answered: bool = False
    away_since: float | None = None
    dead: set[int] = field(default_factory=set)  # pids of backend processes that were dead at the last check
    models: dict[int, str] = field(default_factory=dict)  # model by pid, including processes that are dead now
    load_cpu_s: float = -1.0  # CPU time of the backend processes when they last used some
    idle_since: float = 0.0

    def is_stuck(self, now: float) -> bool:
        """Return whether its backend processes have used no CPU for STUCK_S, while it loads its models."""
        processes = [process for process in backend_processes.of_server(self.pid) if not process.dead]
        cpu_s = sum(process.cpu_s for process in processes)
        if not processes or abs(cpu_s - self.load_cpu_s) > STUCK_CPU_S:
            self.load_cpu_s, self.idle_since = cpu_s, now
        return now - self.idle_since >= STUCK_S


class Watchdog:
    """Watchdog over the programs of one supervisord and, if Triton is one of them, its models in `model_dir`."""

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
        """Check everything once, repair what is broken, and return the seconds until the next check.

        Raises:
            ConnectionError: There is no supervisord any more, so nothing is left to watch.
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
            report = self._canaries.probe(
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
        """Return the versions that do not answer and whose process was dead at this check and the last.

        Unloading a model leaves its process dead for an instant, so one check is not enough. A version that died while
        it was loaded affects no other model.
        """
        server = self._server
        server.models |= {stub.pid: stub.model for stub in processes if stub.model}
        dead = {stub.pid for stub in processes if stub.dead}
        still_dead, server.dead = dead & server.dead, dead
        lost = {server.models.get(pid) for pid in still_dead}  # None: it died before this watchdog started
        silent = {key: canary.why for key, canary in report.canaries.items() if canary.outcome != "answered"}
        return {key: f"has lost its process: {why}" for key, why in silent.items() if lost & {key, None}}

    def _is_away(self, why: str) -> None:
        """Record that Triton does not answer, and restart it after AWAY_S.

        A server that never answered may have much to load: it is restarted when its backend processes stop loading.
        """
        self._ledger.away(why)
        now = time.monotonic()
        self._server.away_since = self._server.away_since or now
        if self._server.answered and now - self._server.away_since >= AWAY_S:
            self._restart("away", {"triton": f"has not answered for {AWAY_S:g} s: {why}"})
        elif not self._server.answered and self._server.is_stuck(now):
            self._restart("hung", {"triton": f"loads its models and has used no CPU for {STUCK_S:g} s"})

    def _restart(self, cause: str, why: dict[str, str]) -> None:
        """Kill Triton and its backend processes; Supervisor starts it again."""
        reasons = "; ".join(f"{key} {reason}" for key, reason in why.items())
        programs = self._supervision.programs()
        if "triton" not in programs or programs["triton"].pid != self._server.pid:
            return  # Triton has ended in the meantime
        if not self._restarts.allows(time.monotonic()):
            self._ledger.waits(f"Triton was restarted a moment ago, and {reasons}")
            return
        log.error("Triton is restarted: %s", reasons)
        self._ledger.restarted(cause)
        # SIGKILL, because an orderly shutdown would wait for the process that hangs.
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)

    def _load_again(self, unloaded: dict[str, str]) -> None:
        """Load the models that Triton could not load; Triton itself tries only once, at its start."""
        for name in unloaded:
            if (self._model_dir / name).is_dir() and self._loads[name].allows(time.monotonic()):
                log.error("%s, which Triton could not load, is loaded again", name)
                placement.follow(self._model_dir / name, self._run_dir)
                self._ledger.loaded(name)
                self._canaries.load(name)


def _seen(report: Report, processes: list[backend_processes.BackendProcess]) -> dict[str, Observation]:
    return {
        key: Observation(
            canary.outcome, canary.why, canary.answers, sum(stub.cpu_s for stub in processes if stub.model == key)
        )
        for key, canary in report.canaries.items()
    }
