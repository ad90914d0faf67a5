"""Client of the Supervisor of one run folder: start it, query it, control it."""

import subprocess
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from supervisor.xmlrpc import SupervisorTransport

COMMAND_TIMEOUT_S = 150  # supervisorctl's longest command: a restart of all programs with their stop timeouts


class Program(NamedTuple):
    """State of a program as Supervisor names it, for example "RUNNING", and its process id; 0 without a process.

    `stopped` and `started` are when it last ended and started, in seconds since the epoch; 0 when it never did.
    """

    state: str
    pid: int
    stopped: int
    started: int = 0


class SupervisorClient:
    """Client of the supervisord with configuration `config` and its socket in `run_dir`; it may be stopped."""

    def __init__(self, python: Path, config: Path, run_dir: Path) -> None:
        self._python, self._config = python, config
        self._socket = f"unix://{run_dir}/supervisor.sock"
        self._connection: Any = None

    def keep_connection(self) -> None:
        """Open a permanent connection, for a process that then drops the right to connect; raise OSError on failure."""
        self._connection = self._connect()
        self._connection.supervisor.getState()

    def launch(self, environment: Mapping[str, str]) -> None:
        """Start supervisord in the background; raise CalledProcessError if its configuration is wrong."""
        subprocess.run(
            [self._python, "-m", "supervisor.supervisord", "-c", self._config],
            env=environment,
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=30,
        )

    def is_running(self) -> bool:
        """Return whether supervisord runs and is not shutting down."""
        try:
            with self._rpc() as rpc:
                return bool(rpc.supervisor.getState()["statename"] == "RUNNING")
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False

    def start_all(self) -> None:
        """Start the programs that are stopped or FATAL."""
        with self._rpc() as rpc:
            rpc.supervisor.startAllProcesses(False)

    def programs(self) -> dict[str, Program]:
        """Return every program by name; empty while there is no supervisord."""
        try:
            with self._rpc() as rpc:
                infos: Any = rpc.supervisor.getAllProcessInfo()
        except (OSError, HTTPException, xmlrpc.client.Error):
            return {}
        return {info["name"]: Program(info["statename"], info["pid"], info["stop"], info["start"]) for info in infos}

    def start(self, name: str) -> None:
        """Start one program without waiting for it; do nothing when it runs already."""
        with suppress(OSError, HTTPException, xmlrpc.client.Error), self._rpc() as rpc:
            rpc.supervisor.startProcess(name, False)

    def failures(self) -> set[tuple[str, int]]:
        """Return the failed programs, each with the time of its failure in seconds since the epoch."""
        failed = ("BACKOFF", "EXITED", "FATAL")
        return {(name, program.stopped) for name, program in self.programs().items() if program.state in failed}

    def shutdown(self) -> int:
        """Ask supervisord to stop all programs, last started first, and to exit; return its pid at once."""
        with self._rpc() as rpc:
            pid: int = rpc.supervisor.getPID()
            rpc.supervisor.shutdown()
        return pid

    def command(self, *arguments: str) -> str:
        """Return the output of `supervisorctl` with `arguments`."""
        completed = subprocess.run(
            [self._python, "-m", "supervisor.supervisorctl", "-c", self._config, "-s", self._socket, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        return completed.stdout

    @contextmanager
    def _rpc(self) -> Iterator[Any]:
        if self._connection:
            yield self._connection
            return
        with self._connect() as rpc:
            yield rpc

    def _connect(self) -> Any:
        return xmlrpc.client.ServerProxy("http://127.0.0.1", SupervisorTransport(None, None, self._socket))
