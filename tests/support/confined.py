"""Attempts from inside a confined process, on this kernel or on one that lacks some calls; see `attempts`.

The lack is real: a seccomp filter around everything has the kernel answer as one without those calls does.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from app.sandbox import SandboxConfig, confine, current_layers
from app.sandbox.process import fork_server
from app.sandbox.seccomp import EQUAL, SyscallRule, block

CHECKOUT = Path(__file__).resolve().parents[2]
LACKS = {
    "landlock": [SyscallRule("landlock_create_ruleset", errno.ENOSYS)],
    "seccomp": [SyscallRule("seccomp", errno.ENOSYS), SyscallRule("prctl", errno.EINVAL, 0, EQUAL, 22)],
    "namespaces": [SyscallRule("unshare")],  # as in a container
    "setuid": [SyscallRule(name) for name in ("setresuid", "setresgid", "setgroups")],  # root without capabilities
}
PATIENCE_S = 60.0


def attempts(
    actions: Sequence[Sequence[str]], lacking: Sequence[str] = (), user: int | None = None, **confinement: Any
) -> tuple[dict[str, tuple[bool, str]], list[str]]:
    """Return the layers that hold, by name, and the result of each action: a function of hostile.py with arguments.

    Every action has its own process. A result is its return value, or the name of its error or signal.
    """
    request = {"actions": list(actions), "lacking": list(lacking), "confinement": confinement}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.confined"],
        input=json.dumps(request),
        cwd=CHECKOUT,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    body = json.loads(done.stdout)
    return {name: (holds, note) for name, holds, note in body["layers"]}, body["said"]


def main() -> None:
    body = json.loads(sys.stdin.read())
    if body["lacking"]:
        block([refusal for name in body["lacking"] for refusal in LACKS[name]])
    config = body["confinement"]
    confinement = SandboxConfig(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    )
    layers = attempt(confinement, "")
    print(json.dumps({"layers": layers, "said": [attempt(confinement, *action) for action in body["actions"]]}))


def attempt(confinement: SandboxConfig, action: str, *arguments: str) -> Any:
    """Run an action and return its result; without one, return the layers."""
    context = fork_server()
    ours, theirs = context.Pipe()
    process = context.Process(target=_act, args=(theirs, confinement, action, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            return ours.recv()
    except EOFError:
        process.join()
        return f"ended {process.exitcode}"
    finally:
        process.kill()
        process.join()


def _act(connection: Connection, confinement: SandboxConfig, action: str, arguments: Sequence[str]) -> None:
    from tests.support import hostile

    confine(confinement)
    if not action:
        connection.send(current_layers())
        return
    try:
        connection.send(getattr(hostile, action)(*arguments))
    except Exception as error:
        number = getattr(error, "errno", None)
        connection.send(errno.errorcode.get(number, str(number)) if number else type(error).__name__)


if __name__ == "__main__":
    main()
