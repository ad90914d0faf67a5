"""Triton and its models' processes are killed and stopped; regions are taken from it."""

from __future__ import annotations

import os
import signal
import time

import httpx
import pytest
from tritonclient.grpc import InferenceServerClient, InferenceServerException

from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import FaultRun, FaultRuns
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import stopped
from tests.support.stack_state import (
    model_process,
    owners_of_regions,
    pid_of,
    ready,
    regions,
    registered,
    watchdog_numbers,
)
from tests.support.stacks import until
from tests.support.triton_server import forget_region

STOPPED_S = 30.0
ANSWERS = 'clipstack_model_answers{model="camera_motion@1"}'


@pytest.fixture
def watched(faulty_stack: Stack) -> Stack:
    """The stack with a new watchdog, without a backoff from earlier restarts, that has seen the model answer."""
    faulty_stack.supervisorctl("restart", "watchdog")
    (faulty_stack.run_dir / "watchdog" / "watchdog.prom").unlink(missing_ok=True)
    until(lambda: watchdog_numbers(faulty_stack).get(ANSWERS), 15)
    return faulty_stack


def load_s(fault_run: FaultRun, before: int) -> float:
    """Wait for the Triton after `before`; return the seconds from its start until it is ready."""
    stack = fault_run.stack
    until(lambda: pid_of(stack, "triton") not in (0, before), 30)
    begin = time.monotonic()

    def is_ready() -> bool:
        try:
            with InferenceServerClient(stack.settings.triton_target) as triton:
                return bool(triton.is_model_ready("camera_motion", client_timeout=1.0))
        except InferenceServerException:
            return False

    until(is_ready, 60)
    return time.monotonic() - begin


def back_as_promised(fault_run: FaultRun, before: int, row: Row) -> None:
    load = load_s(fault_run, before)
    fault_run.check_recovery(load + 5, f"Triton's load {load:.1f} s; right answers after")
    stack = fault_run.stack
    until(lambda: registered(stack) == regions(stack) and len(regions(stack)) == owners_of_regions(stack), 20)
    row.check(f"{len(registered(stack))} regions known again, and used", fault_run.by_shared_memory())


def test_07_triton_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        before = pid_of(faulty_stack, "triton")
        fault_run.mark_fault()
        os.killpg(before, signal.SIGKILL)
        until(lambda: not ready(faulty_stack), 10)
        row.check_within("not ready after", time.monotonic() - fault_run.fault, 2)
        back_as_promised(fault_run, before, row)
        fault_run.check_errors("503")


@pytest.mark.timeout(300)
def test_08_triton_stopped(watched: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(watched) as fault_run:
        before = pid_of(watched, "triton")
        fault_run.mark_fault()
        with stopped([before]):
            time.sleep(STOPPED_S)
        went_on = time.monotonic()
        fault_run.check_recovery(5, "right answers after SIGCONT and", since=went_on)
        fault_run.check_errors("503")
        late = [sample.seconds for sample in fault_run.flow.bad(fault_run.fault) if sample.sent > fault_run.fault + 10]
        quick = sum(seconds < 1.0 for seconds in late)
        row.check(
            f"503 within 1 s, of those sent from the 10th second on: {quick} of {len(late)}", quick >= 0.9 * len(late)
        )
        row.check("the same Triton", pid_of(watched, "triton") == before)


@pytest.mark.parametrize(("hurting", "limit_s"), [(signal.SIGKILL, 15)], ids=["killed"])
def test_09_model_process(
    watched: Stack, fault_runs: FaultRuns, row: Row, hurting: signal.Signals, limit_s: float
) -> None:
    _model_process(watched, fault_runs, hurting, limit_s)


@pytest.mark.parametrize(("hurting", "limit_s"), [(signal.SIGSTOP, 20)], ids=["stopped"])
def test_10_model_process(
    watched: Stack, fault_runs: FaultRuns, row: Row, hurting: signal.Signals, limit_s: float
) -> None:
    _model_process(watched, fault_runs, hurting, limit_s)


def _model_process(stack: Stack, fault_runs: FaultRuns, hurting: signal.Signals, limit_s: float) -> None:
    with fault_runs.of(stack) as fault_run:
        stub = model_process(stack, "camera_motion@1")
        fault_run.mark_fault()
        os.kill(stub, hurting)
        fault_run.check_recovery(limit_s)
        fault_run.check_errors("503")


def test_12_region_unregistered(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        names = registered(faulty_stack)
        fault_run.mark_fault()
        with InferenceServerClient(faulty_stack.settings.triton_target) as triton:
            for name in names:
                forget_region(triton, name)
        fault_run.check_recovery(0.0, "errors until")
        fault_run.check_errors()
        row.check("shared memory used again", fault_run.by_shared_memory())
        slowest = max(sample.seconds for sample in fault_run.flow.samples if sample.sent > fault_run.fault - 1)
        row.check_within("slowest answer", slowest, 1)


@pytest.mark.timeout(900)
def test_11_model_cannot_be_loaded(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    weights = next((faulty_stack.model_dir / "camera_motion").glob("[0-9]*/model.xml"))
    network, loads = weights.read_text(), 'clipstack_model_loads_total{model="camera_motion"}'
    loads_before = watchdog_numbers(faulty_stack).get(loads, 0)
    with fault_runs.of(faulty_stack) as fault_run:
        weights.write_text("this is no network")
        try:
            fault_run.mark_fault()
            os.killpg(pid_of(faulty_stack, "triton"), signal.SIGKILL)
            until(lambda: not ready(faulty_stack), 10)
            until(lambda: watchdog_numbers(faulty_stack).get(loads, 0) - loads_before >= 10, 500)
            row.note(f"10 loads failed in {time.monotonic() - fault_run.fault:.0f} s")
            answer = httpx.get(f"{faulty_stack.url}/readyz", timeout=10)
            row.check(f"/readyz meanwhile {answer.status_code}", answer.status_code == 503)
            series = ANSWERS.partition("@")[0]  # a model that is not loaded has no version
            values = [number for name, number in watchdog_numbers(faulty_stack).items() if name.startswith(series)]
            row.check(f"clipstack_model_answers {values}", values == [0])
        finally:
            weights.write_text(network)
        healed = time.monotonic()
        until(lambda: ready(faulty_stack), 60)
        fault_run.check_recovery(40, "right answers after the cause was gone and", since=healed)
        fault_run.check_errors("503")
