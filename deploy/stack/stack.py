"""The whole stack of one run folder: start it, wait for it, look at it, stop it.

python -m deploy.stack up|down|status|wait|logs|url      (settings: CLIPSTACK_* in the environment)
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app import recorded_settings
from app.settings import CHECKOUT, InvalidSetting, Settings
from deploy.nginx import tls
from deploy.stack import doors, places, ports, preflight, processes, run_dir, users
from deploy.stack.supervisor import SupervisorClient
from deploy.watchdog import restarts

READY_S = 120.0  # a start takes 3 s, and up to 40 s on a busy machine
STOP_S = 120.0  # nginx, web and Triton stop one after another, each with its own timeout
HOPELESS = 3  # failed starts of one program after which waiting is useless


class StackError(Exception):
    """The stack cannot start or did not become ready; the message is shown on the command line."""


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
        self._supervision = SupervisorClient(self.python, config, self.run_dir)

    def as_started(self) -> Stack:
        """Return this stack with the settings it was started with; return itself when it does not run."""
        settings = recorded_settings.of_running_stack(self.run_dir)
        return Stack(self.checkout, {**self._environment, **settings.environment()}) if settings else self

    @property
    def url(self) -> str:
        """Return the URL at which a client on this machine reaches nginx."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(self.settings.host, self.settings.host)
        return f"{'https' if self.settings.tls else 'http'}://{run_dir.bracketed(host)}:{self.settings.port}"

    def up(self, timeout_s: float = READY_S) -> None:
        """Start the programs that do not run and wait until the stack is ready.

        Raises:
            StackError: The stack did not become ready; if this call started it, it has been stopped again.
        """
        self.run_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        with self._alone():
            ran = self._supervision.answers()
            if not ran:
                self._start()
            elif changed := run_dir.differences(self.settings):
                raise StackError(f"already running with another {', '.join(changed)}: `make down` first")
            else:
                self._supervision.start_all()
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
        with self._alone():
            if self._supervision.answers():
                processes.gone([self._supervision.shutdown()], STOP_S)
            processes.end(self.processes(), patience_s=10)  # orphans that Supervisor does not know
            places.address(self.run_dir).unlink(missing_ok=True)

    def wait(self, timeout_s: float = READY_S) -> None:
        """Return when /readyz answers 200.

        Raises:
            StackError: A program keeps failing or the timeout passed; the message has the end of its log.
        """
        deadline, failures = time.monotonic() + timeout_s, set[tuple[str, int]]()
        while (answer := self._readiness()) is not None:
            failures |= self._supervision.failures()
            for name, times in Counter(name for name, _ in failures).items():
                if times >= HOPELESS:
                    raise StackError("\n".join([f"{name} does not start:", *self._tails(name)]))
            if time.monotonic() > deadline:
                why = f"not ready after {timeout_s:.0f} s: {answer}"
                raise StackError("\n".join([why, *self._tails("")]))
            time.sleep(0.2)
        if stranger := self._stranger():
            raise StackError(stranger)

    def status(self) -> tuple[bool, str]:
        """Return whether the stack is ready, and a table of its programs to print."""
        if not self._supervision.answers():
            return False, "stopped"
        answer = self._readiness() or self._stranger()
        ready = f"ready at {self.url}" if answer is None else f"not ready: {answer}"
        warnings = [f"warning: {words}\n" for words in restarts.warnings(self.run_dir)]
        return answer is None, self.supervisorctl("status") + "".join(warnings) + ready

    def supervisorctl(self, *words: str) -> str:
        """Return the output of `supervisorctl` with arguments `words`, for example "restart", "web"."""
        return self._supervision.command(*words)

    def processes(self) -> dict[int, str]:
        """Return pid and name of every living process of the stack."""
        return processes.of_stack(self.run_dir)

    def _start(self) -> None:
        processes.end(self.processes(), patience_s=10)  # left by a killed supervisor
        if problems := preflight.complaints(self.settings, self.checkout):
            raise StackError("\n".join(problems))
        needed = (self.python, self.run_dir.parent, self.model_dir, self.checkout / "app" / "static")
        try:
            user, warning = users.choose(self.settings.user, needed)
            run_dir.fill(self.settings, self.checkout, user)
        except (users.UnusableUser, ValueError) as error:
            raise StackError(str(error)) from error
        if problems := preflight.of_decoders(self.settings, user):
            raise StackError("\n".join(problems))
        self.warnings = [warning] if warning else []
        places.address(self.run_dir).write_text(self.url)
        self._supervision.launch(run_dir.variables(self.settings, self.python, user, self._environment))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the run folder's lock, so that only one command changes the stack at a time."""
        with (self.run_dir / "stack.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"another command starts or stops the stack in {self.run_dir}") from None
            yield

    def _readiness(self) -> str | None:
        """Return None when the stack is ready, otherwise the response or the error."""
        if not places.web_socket(self.run_dir).exists():
            return "web does not listen yet"  # a request to nginx now would only fill its log
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=tls.unchecked()):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.read(500).decode(errors='replace')}"
        except OSError as error:
            return str(error)

    def _stranger(self) -> str | None:
        """Return a message when another program listens on our port; None when our nginx does."""
        port = self.settings.port
        holders = {listener.pid for listener in ports.listeners() if listener.port == port}
        if not holders or holders & self.processes().keys():
            return None
        return f"port {port} is taken{ports.holders(port)}, which is not of this stack: set CLIPSTACK_PORT to another"

    def _tails(self, program: str) -> list[str]:
        """Return the last lines of the logs of `program`, or of all logs when it is empty."""
        parts = []
        for log in sorted((self.run_dir / "logs").glob(f"{program}*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            parts += [f"--- {log}", *lines] if lines else []
        return parts


def up(stack: Stack) -> int:
    """Start the stack, then print its URL and who may use it."""
    stack.up()
    for warning in stack.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"Clipstack is ready: {stack.url}")
    for line in doors.told(stack.settings):
        print(line)
    return 0


def down(stack: Stack) -> int:
    """Stop the stack."""
    stack.down()
    print("Clipstack is stopped")
    return 0


def wait(stack: Stack) -> int:
    """Wait until the stack is ready."""
    stack.wait()
    return 0


def status(stack: Stack) -> int:
    """Print the table of programs; return 3 unless the stack is ready."""
    ready, table = stack.status()
    print(table)
    return 0 if ready else 3


def logs(stack: Stack) -> int:
    """Follow all logs of the stack."""
    paths = map(str, sorted((stack.run_dir / "logs").glob("*.log")))
    os.execvp("tail", ["tail", "-n", "20", "-F", *paths])


def url(stack: Stack) -> int:
    """Print the stack's URL."""
    print(stack.url)
    return 0


COMMANDS = {command.__name__: command for command in (up, down, wait, status, logs, url)}


def main(words: list[str]) -> int | str | None:
    """Run the command in `words` and return the exit status, or the message to print on failure."""
    if len(words) != 1 or words[0] not in COMMANDS:
        return __doc__
    try:
        stack = Stack()
        return COMMANDS[words[0]](stack if words[0] == "up" else stack.as_started())
    except (StackError, InvalidSetting, OSError) as error:
        return f"clipstack: {error}"
    except subprocess.CalledProcessError as error:
        return f"clipstack: supervisord ended with status {error.returncode}; what it said stands above"
