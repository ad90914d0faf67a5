"""The stack of one run folder: start it, wait until it is ready, report its status, stop it."""

from __future__ import annotations

import fcntl
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.settings import CHECKOUT, Settings
from app.settings import recorded as recorded_settings
from deploy.gpu import placement
from deploy.nginx import tls
from deploy.stack import paths, ports, preflight, processes, restarts, run_dir, users
from deploy.stack.supervisor import SupervisorClient

READY_TIMEOUT_S = 120.0  # a start takes 3 s, and up to 40 s on a busy machine
READY_POLL_S = 0.05
GPU_READY_TIMEOUT_S = 600.0  # on a GPU each model measures its layouts at its first start, one after the other
STOP_S = 120.0  # nginx, web and Triton stop one after another, each with its own timeout
ORPHANS_STOP_S = 10.0  # processes that Supervisor does not know
MAX_FAILED_STARTS = 3  # failed starts of one program after which waiting is useless


class StackError(Exception):
    """The stack cannot start or did not become ready; the message is shown on the command line."""


def ready_timeout_s(run_dir: Path, timeout_s: float) -> float:
    """Return how long a start may take: longer where Triton has placed models on a GPU."""
    return max(timeout_s, GPU_READY_TIMEOUT_S) if placement.folder(run_dir).exists() else timeout_s


class Stack:
    """Stack of one run folder, with the settings of `environment`, run from `checkout`."""

    def __init__(self, checkout: Path = CHECKOUT, environment: Mapping[str, str] = os.environ) -> None:
        self.checkout = checkout
        self.settings = Settings.from_environment(environment)
        self.run_dir = self.settings.run_dir
        self.model_dir = self.settings.model_dir
        self.python = checkout / ".venv" / "bin" / "python"
        self.warnings: list[str] = []
        self._environment = environment
        config = checkout / "supervisor" / "supervisord.conf"
        self._supervisor = SupervisorClient(self.python, config, self.run_dir)

    def as_started(self) -> Stack:
        """Return this stack with the settings it was started with; return itself when it does not run."""
        settings = recorded_settings.running_stack(self.run_dir)
        return Stack(self.checkout, {**self._environment, **settings.environment()}) if settings else self

    @property
    def url(self) -> str:
        """Return the URL at which a client on this machine reaches nginx."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(self.settings.host, self.settings.host)
        return f"{'https' if self.settings.tls else 'http'}://{run_dir.bracketed(host)}:{self.settings.port}"

    def up(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start the programs that do not run and wait until the stack is ready.

        Raises:
            StackError: The stack did not become ready; if this call started it, it has been stopped again.
        """
        self.run_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        with self._locked():
            ran = self._supervisor.is_running()
            if not ran:
                self._start()
            elif changed := run_dir.differences(self.settings):
                raise StackError(f"the stack runs with other values of {', '.join(changed)}: run `make down` first")
            else:
                self._supervisor.start_all()
        try:
            self.wait(timeout_s)
        except StackError:
            if not ran:
                self.down()
            raise

    def down(self) -> None:
        """Stop everything, including programs whose supervisor was killed; do nothing when nothing runs."""
        if not self.run_dir.is_dir():
            return
        with self._locked():
            if self._supervisor.is_running():
                processes.wait_until_gone([self._supervisor.shutdown()], STOP_S)
            processes.end(self.processes(), ORPHANS_STOP_S)
            processes.end(self.processes(), timeout_s=1)  # what an orphan started before it was killed
            (self.run_dir / paths.URL_FILE).unlink(missing_ok=True)

    def wait(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when /readyz answers 200.

        Raises:
            StackError: A program keeps failing or the timeout passed; the message has the end of its log.
        """
        began, failures = time.monotonic(), set[tuple[str, int]]()
        while (reason := self._unready_reason()) is not None:
            failures |= self._supervisor.failures()
            for name, count in Counter(name for name, _ in failures).items():
                if count >= MAX_FAILED_STARTS:
                    raise StackError("\n".join([f"{name} does not start. The end of its log:", *self._log_tails(name)]))
            limit_s = ready_timeout_s(self.run_dir, timeout_s)
            if time.monotonic() > began + limit_s:
                message = f"the stack is not ready after {limit_s:.0f} s: {reason}. The ends of its logs:"
                raise StackError("\n".join([message, *self._log_tails("")]))
            time.sleep(READY_POLL_S)
        if conflict := self._port_conflict():
            raise StackError(conflict)

    def status(self) -> tuple[bool, str]:
        """Return whether the stack is ready, and a table of its programs to print."""
        if not self._supervisor.is_running():
            return False, "stopped: `make up` starts the stack"
        reason = self._unready_reason() or self._port_conflict()
        summary = f"ready at {self.url}" if reason is None else f"not ready: {reason}"
        warnings = [f"warning: {warning}\n" for warning in restarts.warnings(self.run_dir)]
        return reason is None, self.supervisorctl("status") + "".join(warnings) + summary

    def supervisorctl(self, *arguments: str) -> str:
        """Return the output of `supervisorctl` with `arguments`, for example "restart", "web"."""
        return self._supervisor.command(*arguments)

    def processes(self) -> dict[int, str]:
        """Return pid and name of every living process of the stack."""
        return processes.of_stack(self.run_dir)

    def _start(self) -> None:
        processes.end(self.processes(), ORPHANS_STOP_S)  # left by a killed supervisor
        self._require_none(preflight.stack_problems(self.settings, self.checkout))
        used_paths = (self.python, self.run_dir.parent, self.model_dir, self.checkout / "app" / "static")
        fetch_user = None
        try:
            user, warning = users.choose(self.settings.user, used_paths)
            if self.settings.fetch:
                fetch_user, second_warning = users.choose_fetcher(self.settings.fetch_user, user, used_paths)
                warning = warning or second_warning
            run_dir.fill(self.settings, self.checkout, user)
        except (users.UnusableUser, ValueError) as error:
            raise StackError(str(error)) from error
        self._require_none(preflight.sandbox_problems(self.settings, user))
        self.warnings = [warning] if warning else []
        (self.run_dir / paths.URL_FILE).write_text(self.url)
        environment = run_dir.program_environment(self.settings, self.python, user, self._environment, fetch_user)
        self._supervisor.launch(environment)

    @staticmethod
    def _require_none(problems: Iterable[preflight.Problem]) -> None:
        if text := "\n".join(map(str, problems)):
            raise StackError(f"cannot start:\n{text}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the run folder's lock, so that only one command changes the stack at a time."""
        with (self.run_dir / "stack.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"another command is starting or stopping the stack in {self.run_dir}: wait for it"
                ) from None
            yield

    def _unready_reason(self) -> str | None:
        """Return None when the stack is ready, otherwise the response or the error."""
        if not (self.run_dir / paths.WEB_SOCKET).exists():
            return "web does not listen yet"  # a request to nginx now would only fill its log
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=tls.unchecked()):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.read(500).decode(errors='replace')}"
        except OSError as error:
            return str(error)

    def _port_conflict(self) -> str | None:
        """Return a message when another program listens on our port; None when our nginx does."""
        port = self.settings.port
        holders = {listener.pid for listener in ports.listeners() if listener.port == port}
        if not holders or holders & self.processes().keys():
            return None
        return f"port {port} is used{ports.holders(port)}, which is not part of this stack: set CLIPSTACK_PORT"

    def _log_tails(self, program: str) -> list[str]:
        """Return the last lines of the logs of `program`, or of all logs when it is empty."""
        parts = []
        for log in sorted((self.run_dir / "logs").glob(f"{program}*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            parts += [f"--- {log}", *lines] if lines else []
        return parts
