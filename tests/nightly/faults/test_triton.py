"""Triton and its models' processes are killed and stopped; regions are taken from it."""

from __future__ import annotations

import os
import signal
import time

import httpx
import pytest
from tritonclient.grpc import InferenceServerClient, InferenceServerException

from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import Trial, Trials
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
def watched(hurt: Stack) -> Stack:
    """The stack with a new watchdog, which has no restart behind it to wait after, and has seen the model answer."""
    hurt.supervisorctl("restart", "watchdog")
    (hurt.run_dir / "watchdog" / "watchdog.prom").unlink(missing_ok=True)
    until(lambda: watchdog_numbers(hurt).get(ANSWERS), 15)
    return hurt


def load_s(trial: Trial, before: int) -> float:
    """Waits for the Triton after `before`; seconds from its start until it is ready."""
    stack = trial.stack
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


def back_as_promised(trial: Trial, before: int, row: Row) -> None:
    load = load_s(trial, before)
    trial.steady(load + 5, f"Triton's load {load:.1f} s; right answers after")
    stack = trial.stack
    until(lambda: registered(stack) == regions(stack) and len(regions(stack)) == owners_of_regions(stack), 20)
    row.holds(f"{len(registered(stack))} regions known again, and used", trial.by_shared_memory())


def test_07_triton_killed(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        before = pid_of(hurt, "triton")
        trial.hurts()
        os.killpg(before, signal.SIGKILL)
        until(lambda: not ready(hurt), 10)
        row.within("not ready after", time.monotonic() - trial.fault, 2)
        back_as_promised(trial, before, row)
        trial.only("503")


@pytest.mark.timeout(300)
def test_08_triton_stopped(watched: Stack, trials: Trials, row: Row) -> None:
    with trials.of(watched) as trial:
        before = pid_of(watched, "triton")
        trial.hurts()
        with stopped([before]):
            time.sleep(STOPPED_S)
        went_on = time.monotonic()
        trial.steady(5, "right answers after SIGCONT and", since=went_on)
        trial.only("503")
        late = [sample.seconds for sample in trial.flow.bad(trial.fault) if sample.sent > trial.fault + 10]
        quick = sum(seconds < 1.0 for seconds in late)
        row.holds(
            f"503 within 1 s, of those sent from the 10th second on: {quick} of {len(late)}", quick >= 0.9 * len(late)
        )
        row.holds("the same Triton", pid_of(watched, "triton") == before)


@pytest.mark.parametrize(("hurting", "limit_s"), [(signal.SIGKILL, 15)], ids=["killed"])
def test_09_model_process(watched: Stack, trials: Trials, row: Row, hurting: signal.Signals, limit_s: float) -> None:
    _model_process(watched, trials, hurting, limit_s)


@pytest.mark.parametrize(("hurting", "limit_s"), [(signal.SIGSTOP, 20)], ids=["stopped"])
def test_10_model_process(watched: Stack, trials: Trials, row: Row, hurting: signal.Signals, limit_s: float) -> None:
    _model_process(watched, trials, hurting, limit_s)


def _model_process(stack: Stack, trials: Trials, hurting: signal.Signals, limit_s: float) -> None:
    with trials.of(stack) as trial:
        stub = model_process(stack, "camera_motion@1")
        trial.hurts()
        os.kill(stub, hurting)
        trial.steady(limit_s)
        trial.only("503")


def test_12_region_unregistered(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        names = registered(hurt)
        trial.hurts()
        with InferenceServerClient(hurt.settings.triton_target) as triton:
            for name in names:
                forget_region(triton, name)
        trial.steady(0.0, "errors until")
        trial.only()
        row.holds("shared memory used again", trial.by_shared_memory())
        slowest = max(sample.seconds for sample in trial.flow.samples if sample.sent > trial.fault - 1)
        row.within("slowest answer", slowest, 1)


@pytest.mark.timeout(900)
def test_11_model_cannot_be_loaded(hurt: Stack, trials: Trials, row: Row) -> None:
    weights = next((hurt.model_dir / "camera_motion").glob("[0-9]*/model.xml"))
    network, loads = weights.read_text(), 'clipstack_model_loads_total{model="camera_motion"}'
    loads_before = watchdog_numbers(hurt).get(loads, 0)
    with trials.of(hurt) as trial:
        weights.write_text("this is no network")
        try:
            trial.hurts()
            os.killpg(pid_of(hurt, "triton"), signal.SIGKILL)
            until(lambda: not ready(hurt), 10)
            until(lambda: watchdog_numbers(hurt).get(loads, 0) - loads_before >= 10, 500)
            row.tell(f"10 loads failed in {time.monotonic() - trial.fault:.0f} s")
            answer = httpx.get(f"{hurt.url}/readyz", timeout=10)
            row.holds(f"/readyz meanwhile {answer.status_code}", answer.status_code == 503)
            series = ANSWERS.partition("@")[0]  # a model that is not loaded has no version
            told = [number for name, number in watchdog_numbers(hurt).items() if name.startswith(series)]
            row.holds(f"clipstack_model_answers {told}", told == [0])
        finally:
            weights.write_text(network)
        healed = time.monotonic()
        until(lambda: ready(hurt), 60)
        trial.steady(40, "right answers after the cause was gone and", since=healed)
        trial.only("503")
