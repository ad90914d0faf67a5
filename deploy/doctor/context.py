"""The examined stack, running or not, and what all checks need to know about it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from app import recorded_settings
from app.settings import CHECKOUT, PREFIX, InvalidSetting, Settings
from deploy.stack import places, processes, users
from deploy.stack.ports import on_loopback
from deploy.stack.supervisor import Program, SupervisorClient

PLACES = ("RUN_DIR", "DATA_DIR", "MODEL_DIR")
SUPERVISOR_S = 4.0
Unseen = Literal["closed", "silent"]
UNSEEN: dict[Unseen, str] = {
    "closed": "we may not ask Supervisor whether the stack runs",
    "silent": "Supervisor does not answer whether the stack runs",
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
        started_with: Settings that the running stack was started with.
        refused: Why the settings of `environment` are invalid, if they are.
        unseen: Why the stack's state is unknown, if it is.
        shm: Folder of shared memory.
    """

    settings: Settings
    environment: Mapping[str, str]
    checkout: Path = CHECKOUT
    programs: Mapping[str, Program] = field(default_factory=dict)
    started_with: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    unseen: Unseen | None = None
    shm: Path = Path("/dev/shm")

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ, checkout: Path = CHECKOUT) -> Context:
        """Return the context of the stack that `environment` describes.

        A running stack has the settings it was started with.
        """
        refused = ""
        try:
            settings = Settings.from_environment(environment)
        except InvalidSetting as error:
            refused = str(error)
            place_settings = {PREFIX + name: environment.get(PREFIX + name, "") for name in PLACES}
            settings = Settings.from_environment(place_settings)
        programs, unseen = _programs(settings.run_dir, checkout)
        started_with = recorded_settings.read(settings.run_dir) if programs else {}
        with suppress(InvalidSetting):  # recorded by an earlier version with other settings
            settings = Settings.from_environment(started_with) if started_with else settings
        return cls(settings, environment, checkout, programs, started_with, refused, unseen)

    @property
    def run_dir(self) -> Path:
        """Run folder of the stack."""
        return self.settings.run_dir

    @property
    def python(self) -> Path:
        """Python of the service's virtual environment."""
        return self.checkout / ".venv" / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Folder of that Python's packages."""
        return self.checkout / ".venv" / "lib" / "python3.11" / "site-packages"

    @property
    def triton(self) -> Path:
        """Folder of the unpacked Triton server."""
        return self.checkout / ".runtime" / "triton"

    @property
    def web_socket(self) -> Path:
        """Socket on which gunicorn listens."""
        return places.web_socket(self.run_dir)

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
    def needed(self) -> tuple[Path, ...]:
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
            return users.choose(self.settings.user, self.needed)[0]
        except users.UnusableUser:
            return users.User.current()

    def running(self) -> None:
        """Raise Skipped when the stack does not run."""
        self.seen()
        if not self.programs:
            raise Skipped("the stack is not running")

    def seen(self) -> None:
        """Raise Skipped when it is unknown whether the stack runs."""
        if self.unseen:
            raise Skipped(UNSEEN[self.unseen])

    def pid(self, program: str) -> int:
        """Return the pid of a running program; raise Skipped when it does not run."""
        self.running()
        if program not in self.programs:
            raise Skipped(f"{program} is not one of the programs here")
        if not self.programs[program].pid:
            raise Skipped(f"{program} is not running")
        return self.programs[program].pid


def _programs(run_dir: Path, checkout: Path) -> tuple[dict[str, Program], Unseen | None]:
    """Return Supervisor's programs, or why its state is unknown.

    A thread queries Supervisor, because its client has no timeout.
    """
    address = run_dir / "supervisor.sock"
    if os.path.isdir(run_dir) and not os.access(run_dir, os.X_OK):
        return {}, "closed"
    if os.path.exists(address) and not os.access(address, os.W_OK):
        return {}, "closed"
    python, config = checkout / ".venv" / "bin" / "python", checkout / "supervisor" / "supervisord.conf"
    results: list[dict[str, Program]] = []
    thread = threading.Thread(
        target=lambda: results.append(SupervisorClient(python, config, run_dir).programs()), daemon=True
    )
    thread.start()
    thread.join(SUPERVISOR_S)
    return (results[0], None) if results else ({}, "silent")
