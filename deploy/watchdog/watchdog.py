"""One check of the programs and models, and the repairs that follow."""

import logging
import os
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.gpu import placement
from deploy.stack.restarts import RestartHistory
from deploy.stack.supervisor import Program, SupervisorClient
from deploy.watchdog import backend_processes
from deploy.watchdog.health import Backoff, HealthTracker, Observation
from deploy.watchdog.metrics import WatchdogMetrics
from deploy.watchdog.prober import ModelProber, Report, TritonUnreachable

PAUSE_S, SHORT_PAUSE_S = 2.0, 0.5  # between checks, normally and with a suspicion to confirm
UNREACHABLE_S = 60.0  # a server that was paused for half a minute resumes without harm
# A model that loads uses the CPU; in one start of some hundred, OpenVINO's Python bindings deadlock while it loads.
STUCK_S, STUCK_CPU_S = 20.0, 0.1
LOAD_LIMIT_S = 1800.0  # a load that uses the CPU but takes longer does not end; engines for GPUs are built for minutes

log = logging.getLogger("deploy.watchdog")


@dataclass
class Load:
    """Progress of a load, measured by the CPU time of its processes."""

    started: float
    cpu_s: float = -1.0  # at the last progress
    progress_at: float = 0.0

    def problem(self, cpu_s: float | None, now: float) -> str:
        """Return why the load will not end, or an empty text.

        Args:
            cpu_s: CPU time that its processes ever used; None while there is no process.
            now: Time in seconds of a clock that does not jump.
        """
        if cpu_s is None or abs(cpu_s - self.cpu_s) > STUCK_CPU_S:
            self.cpu_s, self.progress_at = cpu_s or 0.0, now
        if now - self.progress_at >= STUCK_S:
            return f"has used no CPU for {STUCK_S:g} s"
        if now - self.started >= LOAD_LIMIT_S:
            return f"has not finished after {LOAD_LIMIT_S / 60:g} minutes"
        return ""


@dataclass
class _Server:
    """State of one Triton process, from its start to its end."""

    pid: int
    health: HealthTracker = field(default_factory=HealthTracker)
    has_answered: bool = False
    unreachable_since: float | None = None
    start: Load = field(default_factory=lambda: Load(time.monotonic()))
    loads: dict[int, Load] = field(default_factory=dict)  # by pid, of models that are loaded into a running server
    dead: set[int] = field(default_factory=set)  # pids of backend processes that were dead at the last check
    models: dict[int, str] = field(default_factory=dict)  # model by pid, including processes that are dead now


class Watchdog:
    """Watchdog over the programs of one supervisord and, if Triton is one of them, its models in `model_dir`."""

    def __init__(
        self,
        supervisor: SupervisorClient,
        prober: ModelProber,
        metrics: WatchdogMetrics,
        model_dir: Path,
        run_dir: Path,
    ) -> None:
        self._supervisor, self._prober, self._metrics = supervisor, prober, metrics
        self._model_dir, self._run_dir = model_dir, run_dir
        self._start_backoffs: dict[str, Backoff] = defaultdict(lambda: Backoff(5.0, 60.0))
        self._load_backoffs: dict[str, Backoff] = defaultdict(lambda: Backoff(5.0, 30.0))
        self._restart_backoff = Backoff(15.0, 600.0)
        self._restart_history = RestartHistory()
        self._server = _Server(0)

    def check(self) -> float:
        """Check everything once, repair what is broken, and return the seconds until the next check.

        Raises:
            ConnectionError: There is no supervisord any more, so nothing is left to watch.
        """
        programs = self._supervisor.programs()
        if not programs:
            raise ConnectionError("Supervisor does not answer")
        self._check_programs(programs)
        triton = programs.get("triton")
        if triton and triton.state == "RUNNING":
            self._check_server(triton.pid)
        elif triton:
            self._metrics.unreachable(f"it is {triton.state.lower()}")
        self._metrics.write()
        return SHORT_PAUSE_S if self._server.dead or self._server.health.has_suspects else PAUSE_S

    def _check_programs(self, programs: Mapping[str, Program]) -> None:
        """Start the programs that Supervisor has given up, and count restarts."""
        now = time.monotonic()
        for name, program in programs.items():
            if program.state == "FATAL" and self._start_backoffs[name].allows(now):
                log.error("Supervisor has given up %s: starting it again", name)
                self._metrics.started(name)
                self._supervisor.start(name)
        started = {name: program.started for name, program in programs.items()}
        self._metrics.restarts(self._restart_history.update(started, now))

    def _check_server(self, pid: int) -> None:
        if pid != self._server.pid:
            self._server = _Server(pid)
        server = self._server
        any_dead = any(process.dead for process in backend_processes.of_server(pid))
        try:
            report = self._prober.probe(all_versions=not server.has_answered or any_dead)
        except TritonUnreachable as error:
            self._handle_unreachable(str(error))
            return
        server.has_answered, server.unreachable_since = True, None
        self._metrics.canaries(report.canaries, report.unloaded)
        processes = backend_processes.of_server(pid)
        self._end_stuck_loads(processes, report)
        dead = self._dead_versions(processes, report)
        failed = server.health.failed(_observations(report, processes), time.monotonic())
        if dead or failed:
            self._restart("dead" if dead else "hung", dead | failed)
        else:
            self._load_again(report.unloaded)

    def _dead_versions(self, processes: list[backend_processes.BackendProcess], report: Report) -> dict[str, str]:
        """Return the versions that do not answer and whose process was dead at this check and the last.

        Unloading a model leaves its process dead for an instant, so one check is not enough. A version that died while
        it was loaded affects no other model.
        """
        server = self._server
        server.models |= {process.pid: process.model for process in processes if process.model}
        dead = {process.pid for process in processes if process.dead}
        still_dead, server.dead = dead & server.dead, dead
        models = {server.models.get(pid) for pid in still_dead}  # None: it died before this watchdog started
        silent = {key: canary.reason for key, canary in report.canaries.items() if canary.outcome != "answered"}
        return {key: f"has lost its process: {reason}" for key, reason in silent.items() if models & {key, None}}

    def _handle_unreachable(self, reason: str) -> None:
        """Record that Triton does not answer, and restart it after UNREACHABLE_S.

        A server that never answered may have much to load: it is restarted when its backend processes make no progress.
        """
        self._metrics.unreachable(reason)
        server, now = self._server, time.monotonic()
        server.unreachable_since = server.unreachable_since or now
        if server.has_answered:
            if now - server.unreachable_since >= UNREACHABLE_S:
                self._restart("away", {"triton": f"has not answered for {UNREACHABLE_S:g} s: {reason}"})
            return
        processes = [process for process in backend_processes.of_server(server.pid) if not process.dead]
        cpu_s = sum(process.cpu_s for process in processes) if processes else None
        if problem := server.start.problem(cpu_s, now):
            self._restart("hung", {"triton": f"loads its models and {problem}"})

    def _end_stuck_loads(self, processes: list[backend_processes.BackendProcess], report: Report) -> None:
        """Kill the process of a model that a running Triton loads without progress.

        Triton then reports that it could not load the model, and serves the others meanwhile.
        """
        now, loads = time.monotonic(), self._server.loads
        loading = [process for process in processes if process.model in report.loading and not process.dead]
        self._server.loads = {process.pid: loads.get(process.pid, Load(now)) for process in loading}
        for process in loading:
            if problem := self._server.loads[process.pid].problem(process.cpu_s, now):
                log.error("ending the load of %s, which %s", process.model, problem)
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def _restart(self, cause: str, reasons: dict[str, str]) -> None:
        """Kill Triton and its backend processes; Supervisor starts it again."""
        text = "; ".join(f"{key} {reason}" for key, reason in reasons.items())
        programs = self._supervisor.programs()
        if "triton" not in programs or programs["triton"].pid != self._server.pid:
            return  # Triton has ended in the meantime
        if not self._restart_backoff.allows(time.monotonic()):
            self._metrics.waiting(f"Triton was restarted a short time ago, so it is not restarted now, but {text}")
            return
        log.error("restarting Triton: %s", text)
        self._metrics.restarted(cause)
        # SIGKILL, because an orderly shutdown would wait for the process that hangs.
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)

    def _load_again(self, unloaded: dict[str, str]) -> None:
        """Load the models that Triton could not load; Triton itself tries only once, at its start."""
        for name in unloaded:
            if (self._model_dir / name).is_dir() and self._load_backoffs[name].allows(time.monotonic()):
                log.error("Triton could not load %s: loading it again", name)
                placement.place_again(self._model_dir / name, self._run_dir)
                self._metrics.loaded(name)
                self._prober.load(name)


def _observations(report: Report, processes: list[backend_processes.BackendProcess]) -> dict[str, Observation]:
    cpu_s: dict[str, float] = defaultdict(float)
    for process in processes:
        cpu_s[process.model] += process.cpu_s
    return {
        key: Observation(canary.outcome, canary.reason, canary.answers, cpu_s[key])
        for key, canary in report.canaries.items()
    }
