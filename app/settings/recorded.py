"""Settings of the running stack, recorded at its start for commands that run beside it.

After `CLIPSTACK_PORT=9090 make up`, `make status` finds the stack without that variable. Only the run folder must be
the same.
"""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from app.settings import InvalidSetting, Settings

RECORD = "settings.json"
FOLDERS = ("CLIPSTACK_DATA_DIR", "CLIPSTACK_MODEL_DIR")
CONNECT_TIMEOUT_S = 4.0  # timeout for connecting to Supervisor; allows for a busy machine


def write(settings: Settings) -> None:
    """Record the settings of a stack that is about to start, in its run folder."""
    (settings.run_dir / RECORD).write_text(json.dumps(settings.environment()))


def read(run_dir: Path) -> dict[str, str]:
    """Return the variables that the last start recorded; empty when the record is missing or unreadable."""
    try:
        record: dict[str, str] = json.loads((run_dir / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record


def running_stack(run_dir: Path) -> Settings | None:
    """Return the settings of the stack that runs in `run_dir`; None when none runs there.

    A record alone proves nothing. It may belong to a stopped stack whose address another program now uses, or to the
    checkout from which this one was copied.
    """
    if not _supervisor_listens(run_dir):
        return None
    try:
        settings = Settings.from_environment(read(run_dir))
    except InvalidSetting:  # recorded by another version with other settings
        return None
    return settings if settings.run_dir == run_dir else None


def current(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the running stack's settings, or those of `environment` if none runs or `environment` names other folders.

    Raises InvalidSetting for a variable of `environment` that its setting does not take.
    """
    settings = Settings.from_environment(environment)
    stack = running_stack(settings.run_dir)
    if stack is None:
        return settings
    own, running = settings.environment(), stack.environment()
    elsewhere = any(environment.get(name) and own[name] != running[name] for name in FOLDERS)
    return settings if elsewhere else stack


def _supervisor_listens(run_dir: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(str(run_dir / "supervisor.sock"))
        except OSError:
            return False
    return True
