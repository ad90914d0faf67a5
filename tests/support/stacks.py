"""Start stacks for tests, each with its own folder and free ports."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from deploy.stack.ports import free_ports
from deploy.stack.stack import STOP_S, Stack
from triton_repo.zoo.names import BUILT_IN

T = TypeVar("T")
CHECKOUT = Path(__file__).resolve().parents[2]
stopping: list[threading.Thread] = []  # stacks that stop in the background


@contextmanager
def running_stack(
    checkout: Path = CHECKOUT,
    add_models: Callable[[Path], object] = lambda models: None,
    start: Callable[[Stack], object] = Stack.up,
    models: Sequence[str] = BUILT_IN,
    wait: bool = True,
    **settings: str,
) -> Iterator[Stack]:
    """Start a stack in a temporary folder and stop it afterwards.

    Args:
        checkout: The code that the stack runs.
        add_models: Writes more models into the stack's model folder before the start.
        start: Starts the stack.
        models: The built-in models that it serves; each costs two seconds of its start.
        wait: Return after it has stopped. If false, it stops in the background: Triton alone takes three seconds.
        settings: Names as in CLIPSTACK_NAME, in lower case.
    """
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    folder.chmod(0o755)  # as the session's own temporary folder
    for model in models:
        shutil.copytree(checkout / "triton_repo" / "models" / model, folder / "models" / model)
    add_models(folder / "models")
    stack = Stack(checkout, own_environment(folder, **settings))
    try:
        start(stack)
        yield stack
    finally:
        if wait:
            _stop(stack, folder)
        else:
            stopping.append(threading.Thread(target=_stop, args=(stack, folder)))
            stopping[-1].start()


def _stop(stack: Stack, folder: Path) -> None:
    stack.down()
    shutil.rmtree(folder)


def wait_for_stops() -> None:
    """Wait for the stacks that stop in the background; pytest reports the exceptions of their threads."""
    while stopping:
        stopping.pop().join(2 * STOP_S)


def own_environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a stack in `folder`, with a free port."""
    (port,) = free_ports(1)
    own = {
        "CLIPSTACK_PORT": str(port),
        "CLIPSTACK_RUN_DIR": str(folder / "run"),
        "CLIPSTACK_MODEL_DIR": str(folder / "models"),
        "CLIPSTACK_RESULTS_MB": "0",  # tests send the same video often, and want it classified each time
    }
    return os.environ | own | {f"CLIPSTACK_{name.upper()}": value for name, value in settings.items()}


def until(condition: Callable[[], T], patience_s: float) -> T:
    """Wait until `condition` returns something true and return that; fail the test after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"the condition does not hold after {patience_s} s"
        time.sleep(0.05)
    return result
