"""The stack that is looked at, running or not, and what all checks ask of it."""

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
    """Something that a check needs is not there; the message says what."""


@dataclass(frozen=True)
class Context:
    """A stack of `settings`; `programs` is empty when it does not run, or when nobody can tell, and `unseen` why.

    `refused` says why the settings of `environment` are not used.
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
        """The one that `environment` speaks of. What runs has the settings that it was started with."""
        refused = ""
        try:
            settings = Settings.from_environment(environment)
        except InvalidSetting as error:
            refused = str(error)
            known = {PREFIX + name: environment.get(PREFIX + name, "") for name in PLACES}
            settings = Settings.from_environment(known)
        programs, unseen = _programs(settings.run_dir, checkout)
        started_with = recorded_settings.read(settings.run_dir) if programs else {}
        with suppress(InvalidSetting):  # of a version of before, that knew others
            settings = Settings.from_environment(started_with) if started_with else settings
        return cls(settings, environment, checkout, programs, started_with, refused, unseen)

    @property
    def run_dir(self) -> Path:
        return self.settings.run_dir

    @property
    def python(self) -> Path:
        """The service's own."""
        return self.checkout / ".venv" / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where that one's packages are."""
        return self.checkout / ".venv" / "lib" / "python3.11" / "site-packages"

    @property
    def triton(self) -> Path:
        """Triton's server, as set-up unpacks it."""
        return self.checkout / ".runtime" / "triton"

    @property
    def web_socket(self) -> Path:
        return places.web_socket(self.run_dir)

    @property
    def in_image(self) -> bool:
        """Whether this is one of the images, which hold a part each."""
        return not (self.checkout / "deploy" / "setup").exists()

    @property
    def has_web(self) -> bool:
        return (self.checkout / "app" / "wsgi.py").exists()

    @property
    def has_triton(self) -> bool:
        """Whether Triton is to run beside us."""
        return not self.in_image or self.triton.exists()

    @property
    def triton_local(self) -> bool:
        """Whether Triton can be reached from this machine alone."""
        return not self.settings.triton_address or on_loopback(self.settings.triton_address.rpartition(":")[0])

    @property
    def needed(self) -> tuple[Path, ...]:
        """What the programs' user must be able to reach."""
        return (self.python, self.run_dir.parent, self.settings.model_dir, self.checkout / "app" / "static")

    @cached_property
    def processes(self) -> dict[int, str]:
        """Pid and name of every living process of the stack."""
        return processes.of_stack(self.run_dir)

    @cached_property
    def user(self) -> users.User:
        """Who the programs run as, or would."""
        if self.in_image:
            return users.User.current()
        try:
            return users.choose(self.settings.user, self.needed)[0]
        except users.UnusableUser:
            return users.User.current()

    def running(self) -> None:
        """Raises Unchecked when the stack does not run."""
        self.seen()
        if not self.programs:
            raise Skipped("the stack is not running")

    def seen(self) -> None:
        """Raises Unchecked when nobody can tell whether it runs."""
        if self.unseen:
            raise Skipped(UNSEEN[self.unseen])

    def pid(self, program: str) -> int:
        """Of a program that runs; raises Unchecked."""
        self.running()
        if program not in self.programs:
            raise Skipped(f"{program} is not one of the programs here")
        if not self.programs[program].pid:
            raise Skipped(f"{program} is not running")
        return self.programs[program].pid


def _programs(run_dir: Path, checkout: Path) -> tuple[dict[str, Program], Unseen | None]:
    """What Supervisor says, or why nobody can tell; its own protocol knows no end of a wait."""
    address = run_dir / "supervisor.sock"
    if os.path.isdir(run_dir) and not os.access(run_dir, os.X_OK):
        return {}, "closed"
    if os.path.exists(address) and not os.access(address, os.W_OK):
        return {}, "closed"
    python, config = checkout / ".venv" / "bin" / "python", checkout / "supervisor" / "supervisord.conf"
    told: list[dict[str, Program]] = []
    asking = threading.Thread(
        target=lambda: told.append(SupervisorClient(python, config, run_dir).programs()), daemon=True
    )
    asking.start()
    asking.join(SUPERVISOR_S)
    return (told[0], None) if told else ({}, "silent")
