"""/dev/shm is full, a region is cut, names of the dead are left, a second stack wants the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack.stack import Stack, StackError
from tests.nightly.faults.fault_run import Trials
from tests.nightly.faults.private_mounts import Enclosure, no_enclosure
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import send, web_workers
from tests.nightly.faults.test_triton import load_s
from tests.support.leaks import SHARED_MEMORY
from tests.support.stack_state import owners_of_regions, pid_of, regions, registered
from tests.support.stacks import CHECKOUT, own_environment, running_stack, until

NEEDED_MB = 400  # of a stack with the usual settings, 304 in the preflight's own reckoning


def test_13_all_web_killed(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        before = regions(hurt)
        trial.hurts()
        send(signal.SIGKILL, [pid_of(hurt, "web"), *web_workers(hurt)])
        trial.steady(10)
        trial.only("503")
        until(lambda: registered(hurt) == regions(hurt) and len(regions(hurt)) == owners_of_regions(hurt), 20)
        row.within("Triton has forgotten the dead after", time.monotonic() - trial.fault, 20)
        row.holds(f"regions that are new: {len(regions(hurt) - before)}", len(regions(hurt) & before) == 1)


def test_14_second_stack(hurt: Stack, trials: Trials, row: Row, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    models = {"CLIPSTACK_MODEL_DIR": str(hurt.model_dir)}
    ports = {name: value for name, value in hurt.settings.environment().items() if name.endswith(("PORT", "ADDRESS"))}
    same_ports = Stack(CHECKOUT, own_environment(tmp_path) | models | ports)
    same_folder = Stack(CHECKOUT, os.environ | hurt.settings.environment() | {"CLIPSTACK_MAX_QUEUE": "3"})
    with trials.of(hurt) as trial:
        trial.hurts()
        for second, word in ((same_ports, "CLIPSTACK_PORT"), (same_folder, "CLIPSTACK_MAX_QUEUE")):
            with pytest.raises(StackError, match=word):
                second.up()
        row.tell("refused, with the name of the setting")
        row.holds("nothing of it runs", not same_ports.processes())
        trial.steady(0.0, "errors until")
        trial.only()


@pytest.fixture
def cramped() -> Iterator[tuple[Enclosure, Stack]]:
    """A stack with a /dev/shm of its own, in which little is left over."""
    if reason := no_enclosure():
        pytest.skip(reason)
    enclosure = Enclosure(lambda stack: {SHARED_MEMORY: f"{NEEDED_MB}m"})
    with running_stack(start=enclosure.start) as stack:
        yield enclosure, stack


def test_15_memory_full(cramped: tuple[Enclosure, Stack], trials: Trials, row: Row, tmp_path: Path) -> None:
    enclosure, stack = cramped
    tmp_path.chmod(0o755)
    small = Enclosure(lambda stack: {SHARED_MEMORY: "100m"})
    with pytest.raises(subprocess.CalledProcessError) as refused:
        small.start(Stack(CHECKOUT, own_environment(tmp_path) | {"CLIPSTACK_MODEL_DIR": str(stack.model_dir)}))
    row.holds(f"at the start: {refused.value.stderr.strip()[:90]}…", "/dev/shm has" in refused.value.stderr)
    with trials.of(stack, private_memory=True) as trial:
        workers = web_workers(stack)
        trial.hurts()
        enclosure.fill(stack, SHARED_MEMORY)
        time.sleep(5)  # for so long it stays full
        trial.steady(0.0, "later: errors until")
        trial.only()
        row.holds("the same workers", web_workers(stack) == workers)
        enclosure.empty(stack, SHARED_MEMORY)


def test_16_region_truncated(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        worker, before = web_workers(hurt)[0], pid_of(hurt, "triton")
        (region,) = SHARED_MEMORY.glob(f"clipstack-{worker}-*")
        trial.hurts()
        os.truncate(region, 0)
        until(lambda: trial.flow.bad(trial.fault) or time.monotonic() > trial.fault + 5, 10)
        load = load_s(trial, before) if pid_of(hurt, "triton") != before else 0.0
        trial.steady(load + 5, f"Triton's load {load:.1f} s; right answers after")
        trial.only("503")
        row.tell("Triton was restarted" if pid_of(hurt, "triton") != before else "Triton went on")
