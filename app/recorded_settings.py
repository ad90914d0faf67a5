"""Settings of the stack that runs, as it recorded them at its start: for commands beside it.

A stack started by `CLIPSTACK_PORT=9090 make up` is found by `make status` without that variable: only the run folder
must be the same.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from app.settings import InvalidSetting, Settings

RECORD = "settings.json"
FOLDERS = ("CLIPSTACK_DATA_DIR", "CLIPSTACK_MODEL_DIR")
ANSWER_S = 4.0  # of a Supervisor on a busy machine


def write(settings: Settings) -> None:
    """Record the settings of a stack that is about to start, in its run folder."""
    (settings.run_dir / RECORD).write_text(json.dumps(settings.environment()))


def read(run_dir: Path) -> dict[str, str]:
    """Return the variables that the last start recorded; empty when there was none, or we may not read them."""
    try:
        record: dict[str, str] = json.loads((run_dir / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record


def of_running_stack(run_dir: Path) -> Settings | None:
    """Return the settings of the stack that runs in `run_dir`; None when none does.

    A record alone is not enough: it may be of a stack that was stopped, whose address is somebody else's by now, or of
    the checkout that this one was copied from.
    """
    if not _supervisor_listens(run_dir):
        return None
    try:
        settings = Settings.from_environment(read(run_dir))
    except InvalidSetting:  # of another version, which had other settings
        return None
    return settings if settings.run_dir == run_dir else None


def in_force(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the running stack; those of `environment` when none runs, or it names other folders.

    Raises:
        InvalidSetting: A variable of `environment` has a value that its setting does not take.
    """
    settings = Settings.from_environment(environment)
    stack = of_running_stack(settings.run_dir)
    if stack is None:
        return settings
    mine, others = settings.environment(), stack.environment()
    elsewhere = any(environment.get(name) and mine[name] != others[name] for name in FOLDERS)
    return settings if elsewhere else stack


def _supervisor_listens(run_dir: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(run_dir / "supervisor.sock"))
        except OSError:
            return False
    return True
