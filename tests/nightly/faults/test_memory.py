"""/dev/shm is full, a region is truncated, dead workers leave regions, a second stack starts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack.stack import Stack, StackError
from tests.nightly.faults.fault_run import FaultRuns
from tests.nightly.faults.private_mounts import Enclosure, no_enclosure
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import send, web_workers
from tests.nightly.faults.test_triton import load_s
from tests.support.leaks import SHARED_MEMORY
from tests.support.stack_state import owners_of_regions, pid_of, regions, registered
from tests.support.stacks import CHECKOUT, own_environment, running_stack, until

NEEDED_MB = 400  # of a stack with these settings; the preflight estimates 304


def test_13_all_web_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        before = regions(faulty_stack)
        fault_run.mark_fault()
        send(signal.SIGKILL, [pid_of(faulty_stack, "web"), *web_workers(faulty_stack)])
        fault_run.check_recovery(10)
        fault_run.check_errors("503")
        until(
            lambda: (
                registered(faulty_stack) == regions(faulty_stack)
                and len(regions(faulty_stack)) == owners_of_regions(faulty_stack)
            ),
            20,
        )
        row.check_within("Triton has forgotten the dead after", time.monotonic() - fault_run.fault, 20)
        row.check(
            f"regions that are new: {len(regions(faulty_stack) - before)}", len(regions(faulty_stack) & before) == 1
        )


def test_14_second_stack(faulty_stack: Stack, fault_runs: FaultRuns, row: Row, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    models = {"CLIPSTACK_MODEL_DIR": str(faulty_stack.model_dir)}
    ports = {
        name: value for name, value in faulty_stack.settings.environment().items() if name.endswith(("PORT", "ADDRESS"))
    }
    same_ports = Stack(CHECKOUT, own_environment(tmp_path) | models | ports)
    same_folder = Stack(CHECKOUT, os.environ | faulty_stack.settings.environment() | {"CLIPSTACK_MAX_QUEUE": "3"})
    with fault_runs.of(faulty_stack) as fault_run:
        fault_run.mark_fault()
        for second, word in ((same_ports, "CLIPSTACK_PORT"), (same_folder, "CLIPSTACK_MAX_QUEUE")):
            with pytest.raises(StackError, match=word):
                second.up()
        row.note("refused, with the name of the setting")
        row.check("nothing of it runs", not same_ports.processes())
        fault_run.check_recovery(0.0, "errors until")
        fault_run.check_errors()


@pytest.fixture
def cramped() -> Iterator[tuple[Enclosure, Stack]]:
    """A stack with its own, almost full /dev/shm."""
    if reason := no_enclosure():
        pytest.skip(reason)
    enclosure = Enclosure(lambda stack: {SHARED_MEMORY: f"{NEEDED_MB}m"})
    with running_stack(start=enclosure.start, web_workers="2") as stack:
        yield enclosure, stack


def test_15_memory_full(cramped: tuple[Enclosure, Stack], fault_runs: FaultRuns, row: Row, tmp_path: Path) -> None:
    enclosure, stack = cramped
    tmp_path.chmod(0o755)
    small = Enclosure(lambda stack: {SHARED_MEMORY: "100m"})
    with pytest.raises(subprocess.CalledProcessError) as refused:
        small.start(Stack(CHECKOUT, own_environment(tmp_path) | {"CLIPSTACK_MODEL_DIR": str(stack.model_dir)}))
    row.check(f"at the start: {' '.join(refused.value.stderr.split())[:90]}…", "/dev/shm has" in refused.value.stderr)
    with fault_runs.of(stack, private_memory=True) as fault_run:
        workers = web_workers(stack)
        fault_run.mark_fault()
        enclosure.fill(stack, SHARED_MEMORY)
        time.sleep(5)  # it stays full for this time
        fault_run.check_recovery(0.0, "later: errors until")
        fault_run.check_errors()
        row.check("the same workers", web_workers(stack) == workers)
        enclosure.empty(stack, SHARED_MEMORY)


def test_16_region_truncated(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        worker, before = web_workers(faulty_stack)[0], pid_of(faulty_stack, "triton")
        (region,) = SHARED_MEMORY.glob(f"clipstack-{worker}-*")
        fault_run.mark_fault()
        os.truncate(region, 0)
        until(lambda: fault_run.flow.bad(fault_run.fault) or time.monotonic() > fault_run.fault + 5, 10)
        load = load_s(fault_run, before) if pid_of(faulty_stack, "triton") != before else 0.0
        fault_run.check_recovery(load + 5, f"Triton's load {load:.1f} s; right answers after")
        fault_run.check_errors("503")
        row.note("Triton was restarted" if pid_of(faulty_stack, "triton") != before else "Triton went on")
