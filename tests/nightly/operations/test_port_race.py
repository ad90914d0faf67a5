"""Two stacks that start at the same moment on one port."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.stack.ports import free_ports
from deploy.stack.stack import Stack, StackError
from tests.support.stacks import CHECKOUT, own_environment


def start_error(stack: Stack) -> str:
    """Return why the stack did not start; empty when it is ready."""
    try:
        stack.up(60)
    except StackError as error:
        return str(error)
    return ""


def test_one_of_two_stacks_gets_the_port() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(CHECKOUT / "triton_repo" / "models", folder / "models")
        port = str(free_ports(1)[0])
        pair = [
            Stack(CHECKOUT, own_environment(folder, run_dir=str(folder / run_dir), port=port, web_workers="1"))
            for run_dir in ("one", "two")
        ]
        try:
            with ThreadPoolExecutor(2) as pool:
                errors = list(pool.map(start_error, pair))
            assert sorted(map(bool, errors)) == [False, True]
            assert port in "".join(errors)
            assert [bool(stack.processes()) for stack in pair] == [not error for error in errors]
        finally:
            for stack in pair:
                stack.down()
