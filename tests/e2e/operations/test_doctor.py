"""The doctor on a real stack: no finding when it is healthy, and each planted fault found."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tritonclient.grpc import InferenceServerClient, InferenceServerException

from deploy.doctor.checks.machine import folders, memory
from deploy.doctor.checks.service import models, programs, weights
from deploy.doctor.checks.software import sandbox, versions
from tests.support.stack_state import model_process, owners_of_regions, pid_of, ready, registered
from tests.support.stacks import CHECKOUT, until
from tests.support.triton_server import forget_region

if TYPE_CHECKING:
    from deploy.stack.stack import Stack

# Findings about the machine: parent folders, kernel, version of nginx
OF_THE_MACHINE = {folders.RUNS_AS_ROOT.name, sandbox.LAYER_MISSING.name, versions.NGINX_VULNERABLE.name}


def doctor(stack: Stack, *words: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and JSON of `clipstack doctor`."""
    done = subprocess.run(
        [stack.python.parent / "clipstack", "doctor", "--json", *words],
        cwd=CHECKOUT,
        env=os.environ | stack.settings.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def faults(stack: Stack, *words: str) -> set[str]:
    checks = doctor(stack, *words)[1]["checks"]
    return {finding["fault"] for check in checks for finding in check["findings"] if finding["fault"]}


def test_healthy_stack_has_no_finding(stack: Stack) -> None:
    until(lambda: faults(stack) <= OF_THE_MACHINE, 60)  # other stacks of this machine may leave regions a moment
    code, report = doctor(stack)
    assert (code, report["counts"]["wrong"], report["counts"]["not checked"]) == (0, 0, 0)
    assert report["seconds"] < 20


def test_stopped_program_is_found(stack: Stack) -> None:
    stack.supervisorctl("stop", "watchdog")
    code, report = doctor(stack, "programs")
    assert (code, report["checks"][0]["findings"][0]["fault"]) == (2, programs.NOT_RUNNING.name)
    stack.supervisorctl("start", "watchdog")
    assert faults(stack, "programs") == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_uploads_of_another_owner_are_found(stack: Stack) -> None:
    uploads = stack.run_dir / "uploads"
    owner = uploads.stat()
    os.chown(uploads, 12345, 12345)
    uploads.chmod(0o755)
    try:
        assert faults(stack, "owners", "modes") == {folders.WRONG_OWNER.name, folders.WRONG_MODE.name}
    finally:
        os.chown(uploads, owner.st_uid, owner.st_gid)
        uploads.chmod(0o700)


def test_unloadable_and_hanging_models_are_found(stack: Stack) -> None:
    # The watchdog would repair the second: stop it
    watchdog = pid_of(stack, "watchdog")
    os.kill(watchdog, signal.SIGSTOP)
    broken = stack.model_dir / "broken"
    shutil.copytree(stack.model_dir / "camera_motion", broken)
    _rename(broken)
    (broken / "1" / "model.bin").write_bytes(b"cut off")
    hangs = model_process(stack, "frame_quality@1")
    os.kill(hangs, signal.SIGSTOP)
    try:
        with InferenceServerClient(stack.settings.triton_target) as triton:
            with pytest.raises(InferenceServerException):
                triton.load_model("broken", client_timeout=20)
            result = faults(stack, "canaries", "exported weights")
    finally:
        os.kill(hangs, signal.SIGCONT)
        shutil.rmtree(broken)
        os.kill(watchdog, signal.SIGCONT)
    assert result == {models.NOT_LOADED.name, models.CANARY_FAILED.name, weights.WEIGHTS_TRUNCATED.name}
    until(lambda: ready(stack), 60)


@pytest.fixture
def stopped_owners(stack: Stack) -> Iterator[set[str]]:
    """Stop the owners of the regions, so that they cannot register them again."""
    until(lambda: len(registered(stack)) == owners_of_regions(stack), 30)
    names = registered(stack)
    owners = {int(name.split("-")[1]) for name in names}
    for pid in owners:
        os.kill(pid, signal.SIGSTOP)
    yield names
    for pid in owners:
        with suppress(ProcessLookupError):  # gunicorn may have replaced the stopped worker
            os.kill(pid, signal.SIGCONT)
    until(lambda: len(registered(stack)) == owners_of_regions(stack), 30)


def test_unregistered_regions_are_found(stack: Stack, stopped_owners: set[str]) -> None:
    with InferenceServerClient(stack.settings.triton_target) as triton:
        for name in stopped_owners:
            forget_region(triton, name)
    assert faults(stack, "registered") == {memory.UNKNOWN_REGIONS.name}


def _rename(model: Path) -> None:
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace('"camera_motion"', f'"{model.name}"'))
