"""Two stacks on one machine that differ only in CLIPSTACK_PORT and their run folders."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.inference.channel import connect
from deploy.stack.stack import Stack
from tests.nightly.faults.rows import Row
from tests.support.stack_state import owners_of_regions, pid_of, ready, registered
from tests.support.stacks import CHECKOUT, own_environment, until

READY_S = 90.0
ONLY = ("camera_motion", "frame_quality")  # the model that each of the two serves


@pytest.fixture
def pair() -> Iterator[list[Stack]]:
    """Two stacks, started at the same moment, each with one model that the other does not have."""
    with tempfile.TemporaryDirectory(prefix="two-") as name:
        stacks = []
        for model in ONLY:
            folder = Path(name, model)
            shutil.copytree(CHECKOUT / "triton_repo" / "models" / model, folder / "models" / model)
            stacks.append(Stack(CHECKOUT, own_environment(folder, model=model, web_workers="1")))
        Path(name).chmod(0o755)
        try:
            with ThreadPoolExecutor(len(stacks)) as pool:
                list(pool.map(lambda stack: stack.up(READY_S), stacks))
            yield stacks
        finally:
            for stack in stacks:
                stack.down()


def served(stack: Stack) -> set[str]:
    """Return the names of web's models."""
    return {model["name"] for model in httpx.get(f"{stack.url}/v1/models", timeout=10).json()["models"]}


def loaded(stack: Stack) -> set[str]:
    """Return the names of the models of web's Triton."""
    with connect(stack.settings.triton_target) as triton:
        return {model.name for model in triton.get_model_repository_index().models}


@pytest.mark.timeout(300)
def test_46_two_stacks(pair: list[Stack], row: Row) -> None:
    for stack, model in zip(pair, ONLY, strict=True):
        row.check(f"{model}: of its own Triton alone", served(stack) == loaded(stack) == {model})
    first, second = pair
    killed, before = pid_of(first, "triton"), pid_of(second, "triton")
    os.killpg(killed, signal.SIGKILL)
    row.check("one Triton killed: the other stack ready", ready(second))
    until(lambda: pid_of(first, "triton") not in (0, killed), READY_S)
    until(lambda: len(registered(first)) == owners_of_regions(first) and ready(first), READY_S)
    row.check("its answers are its own again", served(first) == loaded(first) == {ONLY[0]})
    row.check("the other Triton was not restarted", pid_of(second, "triton") == before)
    first.down()
    row.check("one stopped: the other stack ready", ready(second) and served(second) == {ONLY[1]})
