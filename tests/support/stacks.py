"""Start stacks for tests, each with its own folder and free ports."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from deploy.stack.ports import free_ports
from deploy.stack.stack import Stack

T = TypeVar("T")
CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def running_stack(
    checkout: Path = CHECKOUT,
    add_models: Callable[[Path], object] = lambda models: None,
    start: Callable[[Stack], object] = Stack.up,
    **settings: str,
) -> Iterator[Stack]:
    """Start a stack in a temporary folder with `settings` (CLIPSTACK_ names, lower case); stop it after.

    `add_models` may write more models into the stack's own model folder before the start, which `start` does.
    """
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    folder.chmod(0o755)  # as the session's own temporary folder
    shutil.copytree(checkout / "triton_repo" / "models", folder / "models")
    add_models(folder / "models")
    stack = Stack(checkout, own_environment(folder, **settings))
    try:
        start(stack)
        yield stack
    finally:
        stack.down()
        shutil.rmtree(folder)


def own_environment(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a stack that lives in `folder`, on a port nobody listens on."""
    (port,) = free_ports(1)
    own = {
        "CLIPSTACK_PORT": str(port),
        "CLIPSTACK_RUN_DIR": str(folder / "run"),
        "CLIPSTACK_MODEL_DIR": str(folder / "models"),
        "CLIPSTACK_RESULTS_MB": "0",  # tests send the same film often, to have it looked at
    }
    return os.environ | own | {f"CLIPSTACK_{name.upper()}": value for name, value in settings.items()}


def until(condition: Callable[[], T], patience_s: float) -> T:
    """What `condition` says as soon as it holds; fail the test when it does not within `patience_s`."""
    deadline = time.monotonic() + patience_s
    while not (told := condition()):
        assert time.monotonic() < deadline, f"still not so after {patience_s} s"
        time.sleep(0.05)
    return told
