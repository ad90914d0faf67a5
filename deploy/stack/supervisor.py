"""Supervisor of one run folder: start it, ask it, command it."""

from __future__ import annotations

import subprocess
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from supervisor.xmlrpc import SupervisorTransport

COMMAND_S = 150  # supervisorctl's longest command: a restart of all programs with their waits


class Program(NamedTuple):
    """Supervisor's word for what it does, its process, 0 when it has none, and when it last ended and started.

    Both in seconds since the epoch; 0 when it never did.
    """

    state: str
    pid: int
    stopped: int
    started: int = 0


class SupervisorClient:
    """The supervisord with configuration `config` whose socket is in `run_dir`; it may be stopped."""

    def __init__(self, python: Path, config: Path, run_dir: Path) -> None:
        self._python, self._config = python, config
        self._socket = f"unix://{run_dir}/supervisor.sock"
        self._held: Any = None

    def hold(self) -> None:
        """Connect now and for good: for who gives up the right to connect; raises OSError."""
        self._held = self._connection()
        self._held.supervisor.getState()

    def launch(self, environment: Mapping[str, str]) -> None:
        """Start supervisord in the background; raises CalledProcessError when its configuration is wrong."""
        subprocess.run(
            [self._python, "-m", "supervisor.supervisord", "-c", self._config],
            env=environment,
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=30,
        )

    def answers(self) -> bool:
        """Whether there is one, and it is not about to end."""
        try:
            with self._rpc() as rpc:
                return bool(rpc.supervisor.getState()["statename"] == "RUNNING")
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False

    def start_all(self) -> None:
        """Start the programs that are stopped or have been given up."""
        with self._rpc() as rpc:
            rpc.supervisor.startAllProcesses(False)

    def programs(self) -> dict[str, Program]:
        """Every program by its name; empty while there is no supervisord."""
        try:
            with self._rpc() as rpc:
                told: Any = rpc.supervisor.getAllProcessInfo()
        except (OSError, HTTPException, xmlrpc.client.Error):
            return {}
        return {each["name"]: Program(each["statename"], each["pid"], each["stop"], each["start"]) for each in told}

    def start(self, name: str) -> None:
        """Start one program; returns at once, and does nothing when it runs already."""
        with suppress(OSError, HTTPException, xmlrpc.client.Error), self._rpc() as rpc:
            rpc.supervisor.startProcess(name, False)

    def failures(self) -> set[tuple[str, int]]:
        """Programs that are down because they failed, each with the time of it (seconds since the epoch)."""
        down = ("BACKOFF", "EXITED", "FATAL")
        return {(name, program.stopped) for name, program in self.programs().items() if program.state in down}

    def shutdown(self) -> int:
        """Ask it to stop all programs, last started first, and to end; returns its pid at once."""
        with self._rpc() as rpc:
            pid: int = rpc.supervisor.getPID()
            rpc.supervisor.shutdown()
        return pid

    def command(self, *words: str) -> str:
        """Output of `supervisorctl` with `words`."""
        answer = subprocess.run(
            [self._python, "-m", "supervisor.supervisorctl", "-c", self._config, "-s", self._socket, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
        )
        return answer.stdout

    @contextmanager
    def _rpc(self) -> Iterator[Any]:
        if self._held:
            yield self._held
            return
        with self._connection() as rpc:
            yield rpc

    def _connection(self) -> Any:
        return xmlrpc.client.ServerProxy("http://127.0.0.1", SupervisorTransport(None, None, self._socket))
