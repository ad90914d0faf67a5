"""The examined stack, running or not, and what all checks need to know about it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from app.settings import CHECKOUT, PREFIX, InvalidSetting, Settings
from app.settings import recorded as recorded_settings
from deploy.stack import processes, users
from deploy.stack.ports import on_loopback
from deploy.stack.supervisor import Program, SupervisorClient

FOLDER_SETTINGS = ("RUN_DIR", "DATA_DIR", "MODEL_DIR")
SUPERVISOR_TIMEOUT_S = 4.0
Unknown = Literal["no access", "no answer"]
UNKNOWN_STATES: dict[Unknown, str] = {
    "no access": "this user may not ask Supervisor whether the stack runs",
    "no answer": "Supervisor does not answer whether the stack runs",
}


class Skipped(Exception):
    """A check cannot run because something is missing; the message says what."""


@dataclass(frozen=True)
class Context:
    """The examined stack.

    Attributes:
        settings: Settings of the running stack, otherwise those of `environment`.
        environment: Environment of the doctor.
        checkout: Folder of the code.
        programs: Supervisor's programs by name; empty when the stack does not run or its state is unknown.
        started_settings: Settings that the running stack was started with.
        settings_error: Why the settings of `environment` are invalid, if they are.
        unknown: Why the stack's state is unknown, if it is.
        shm: Folder of shared memory.
    """

    settings: Settings
    environment: Mapping[str, str]
    checkout: Path = CHECKOUT
    programs: Mapping[str, Program] = field(default_factory=dict)
    started_settings: Mapping[str, str] = field(default_factory=dict)
    settings_error: str = ""
    unknown: Unknown | None = None
    shm: Path = Path("/dev/shm")

    @classmethod
    def current(cls, environment: Mapping[str, str] = os.environ, checkout: Path = CHECKOUT) -> Context:
        """Return the context of the stack that `environment` describes.

        A running stack has the settings it was started with.
        """
        settings_error = ""
        try:
            settings = Settings.from_environment(environment)
        except InvalidSetting as error:
            settings_error = str(error)
            folders = {PREFIX + name: environment.get(PREFIX + name, "") for name in FOLDER_SETTINGS}
            settings = Settings.from_environment(folders)
        programs, unknown = _programs(settings.run_dir, checkout)
        started_settings = recorded_settings.read(settings.run_dir) if programs else {}
        with suppress(InvalidSetting):  # recorded by an earlier version with other settings
            settings = Settings.from_environment(started_settings) if started_settings else settings
        return cls(settings, environment, checkout, programs, started_settings, settings_error, unknown)

    @property
    def run_dir(self) -> Path:
        """Run folder of the stack."""
        return self.settings.run_dir

    @property
    def python(self) -> Path:
        """Python of the service's virtual environment."""
        return self.checkout / ".venv" / "bin" / "python"

    @property
    def python_version(self) -> str:
        """Version of that Python, for example "3.11"; it may differ from the running Python's."""
        match = re.search(r"^version\S* *= *(3\.\d+)", (self.checkout / ".venv" / "pyvenv.cfg").read_text(), re.M)
        if not match:
            raise Skipped(".venv/pyvenv.cfg has no Python version")
        return match[1]

    @property
    def packages(self) -> Path:
        """Folder of that Python's packages."""
        return self.checkout / ".venv" / "lib" / "python3.11" / "site-packages"

    @property
    def triton(self) -> Path:
        """Folder of the unpacked Triton server."""
        return self.checkout / ".runtime" / "triton"

    @property
    def in_image(self) -> bool:
        """Whether the doctor runs inside one of the images, each of which holds a part of the stack."""
        return not (self.checkout / "deploy" / "setup").exists()

    @property
    def has_web(self) -> bool:
        """Whether nginx and web belong to this part."""
        return (self.checkout / "app" / "wsgi.py").exists()

    @property
    def has_triton(self) -> bool:
        """Whether Triton runs in this place."""
        return not self.in_image or self.triton.exists()

    @property
    def triton_local(self) -> bool:
        """Whether Triton can be reached from this machine only."""
        return not self.settings.triton_address or on_loopback(self.settings.triton_address.rpartition(":")[0])

    @property
    def used_paths(self) -> tuple[Path, ...]:
        """Paths that the programs' user must be able to reach."""
        return (self.python, self.run_dir.parent, self.settings.model_dir, self.checkout / "app" / "static")

    @cached_property
    def processes(self) -> dict[int, str]:
        """Pid and name of every living process of the stack."""
        return processes.of_stack(self.run_dir)

    @cached_property
    def user(self) -> users.User:
        """User that the programs run as, or would run as."""
        if self.in_image:
            return users.User.current()
        try:
            return users.choose(self.settings.user, self.used_paths)[0]
        except users.UnusableUser:
            return users.User.current()

    def require_web(self) -> None:
        """Raise Skipped when nginx and web run in another container."""
        if not self.has_web:
            raise Skipped("nginx and web run in another container")

    def require_triton(self) -> None:
        """Raise Skipped when Triton and its models are in another container."""
        if not self.has_triton:
            raise Skipped("Triton and its models are in another container")

    def require_running(self) -> None:
        """Raise Skipped when the stack does not run."""
        self.require_state()
        if not self.programs:
            raise Skipped("the stack does not run")

    def require_state(self) -> None:
        """Raise Skipped when it is unknown whether the stack runs."""
        if self.unknown:
            raise Skipped(UNKNOWN_STATES[self.unknown])

    def pid(self, program: str) -> int:
        """Return the pid of a running program; raise Skipped when it does not run."""
        self.require_running()
        if program not in self.programs:
            raise Skipped(f"{program} runs in another container")
        if not self.programs[program].pid:
            raise Skipped(f"{program} does not run")
        return self.programs[program].pid


def _programs(run_dir: Path, checkout: Path) -> tuple[dict[str, Program], Unknown | None]:
    """Return Supervisor's programs, or why its state is unknown.

    A thread queries Supervisor, because its client has no timeout.
    """
    socket = run_dir / "supervisor.sock"
    for path, mode in ((run_dir, os.X_OK), (socket, os.W_OK)):
        if os.access(path, os.F_OK) and not os.access(path, mode):
            return {}, "no access"
    python, config = checkout / ".venv" / "bin" / "python", checkout / "supervisor" / "supervisord.conf"
    results: list[dict[str, Program]] = []
    thread = threading.Thread(
        target=lambda: results.append(SupervisorClient(python, config, run_dir).programs()), daemon=True
    )
    thread.start()
    thread.join(SUPERVISOR_TIMEOUT_S)
    return (results[0], None) if results else ({}, "no answer")
