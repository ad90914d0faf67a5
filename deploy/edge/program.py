"""The running load balancer: nginx, and the loop that checks the nodes and reloads nginx when something changes."""

import json
import logging
import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from app.files import DamagedFile, read_file, write_file
from deploy.edge import config
from deploy.edge.checks import Checker, Condition
from deploy.edge.nodes import Edge, EdgeError, EdgeFile
from deploy.stack import paths
from deploy.stack.processes import wait_until

INTERVAL_S = 1.0
TEST_TIMEOUT_S = RELOAD_S = 10.0
STOP_S = 30.0  # for running requests, when the load balancer ends

log = logging.getLogger(__name__)


class StateFile:
    """State of the running program, for the commands: the edge that nginx has, conditions, and old workers."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.json"

    def write(self, edge: Edge, conditions: dict[str, Condition], ending: int) -> None:
        """Replace the file."""
        nodes = {name: [node.address, node.drained] for name, node in edge.nodes.items()}
        named = {name: condition.value for name, condition in conditions.items()}
        state = {"pid": os.getpid(), "nodes": nodes, "conditions": named, "ending_workers": ending}
        write_file(self.path, json.dumps(state).encode())

    def read(self) -> dict[str, Any]:
        """Return the state of the running program; raises EdgeError if none runs."""
        with suppress(OSError, DamagedFile, ValueError):
            state: dict[str, Any] = json.loads(read_file(self.path))
            if psutil.pid_exists(state["pid"]):
                return state
        raise EdgeError("the load balancer does not run: start it with `python -m deploy.edge run`")


class EdgeProgram:
    """The load balancer in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file, self._state = folder, EdgeFile(folder), StateFile(folder)
        self._checker, self._stopping = Checker(), threading.Event()
        self._config = folder / "nginx" / "nginx.conf"
        self._applied: tuple[Edge, str] | None = None
        self._nginx: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; raises EdgeError if nginx does not start, or ends."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        try:
            while not self._stopping.is_set():
                self._step()
                self._stopping.wait(INTERVAL_S)
        finally:
            self._stop()

    def _step(self) -> None:
        """Check the nodes, and have nginx use what has changed."""
        edge = self._read()
        self._checker.check({name: node.address for name, node in edge.nodes.items()})
        conditions = dict(self._checker.conditions)
        wanted = (edge, config.upstreams(edge, conditions) + config.paths(edge, conditions))
        if wanted != self._applied:
            self._apply(edge, conditions)
            self._applied = wanted
        assert self._nginx is not None
        if self._nginx.poll() is not None:
            raise EdgeError(f"nginx ended with status {self._nginx.returncode}: its messages are above")
        self._state.write(edge, conditions, sum(self._workers().values()))

    def _read(self) -> Edge:
        """Return the edge; while its file is damaged, the one before."""
        try:
            return self._file.read()
        except EdgeError as error:
            if self._applied is None:
                raise
            log.error("the nodes stay as they were: %s", error)
            return self._applied[0]

    def _apply(self, edge: Edge, conditions: dict[str, Condition]) -> None:
        try:
            config.write(self._folder, edge, conditions)
        except ValueError as error:
            raise EdgeError(str(error)) from error
        command = [paths.program("nginx"), "-e", "stderr", "-c", str(self._config)]
        test = subprocess.run([*command, "-t", "-q"], capture_output=True, text=True, timeout=TEST_TIMEOUT_S)
        if test.returncode and self._nginx is not None:
            log.error("nginx keeps its configuration, because it refuses the new one: %s", test.stderr.strip())
        elif test.returncode:
            raise EdgeError(f"nginx refuses its configuration: {test.stderr.strip()}")
        elif self._nginx is None:
            self._nginx = self._start([*command, "-g", "daemon off;"])
        else:
            self._reload(self._nginx)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start nginx and wait until it listens: it then writes its pid, and takes signals."""
        pid_file = self._folder / "nginx.pid"
        pid_file.unlink(missing_ok=True)
        nginx = subprocess.Popen(command)
        if not wait_until(lambda: pid_file.exists() or nginx.poll() is not None, RELOAD_S):
            nginx.kill()
            raise EdgeError(f"nginx does not start within {RELOAD_S:g} s")
        return nginx

    def _reload(self, nginx: subprocess.Popen[bytes]) -> None:
        """Have nginx read its configuration again, and wait until its old workers take no more requests."""
        old = {pid for pid, is_ending in self._workers().items() if not is_ending}
        nginx.send_signal(signal.SIGHUP)
        if not wait_until(lambda: all(ending for pid, ending in self._workers().items() if pid in old), RELOAD_S):
            log.error("nginx has not used its new configuration after %g s", RELOAD_S)

    def _workers(self) -> dict[int, bool]:
        """Return the pids of nginx's workers, and whether each only finishes its requests."""
        assert self._nginx is not None
        workers = {}
        for child in psutil.Process(self._nginx.pid).children():
            with suppress(psutil.Error):  # it has just ended
                workers[child.pid] = "shutting down" in " ".join(child.cmdline())
        return workers

    def _stop(self) -> None:
        """End nginx after its running requests, which have STOP_S."""
        self._checker.close()
        if self._nginx is not None:
            self._nginx.send_signal(signal.SIGQUIT)
            try:
                self._nginx.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._nginx.terminate()
                self._nginx.wait(STOP_S)
        self._state.path.unlink(missing_ok=True)
