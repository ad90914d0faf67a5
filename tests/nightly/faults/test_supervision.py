"""Supervisor restarts and dies, everything dies, the clock jumps; and what only a machine with a GPU can show."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from deploy.stack import processes
from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import HOP_S, FaultRuns
from tests.nightly.faults.rows import Row
from tests.support.job_requests import wait_for_job, windows_done
from tests.support.stack_state import ready
from tests.support.stacks import running_stack, until

COLD_S = 30.0
HOUR_S = 3600
CLOCK = Path(__file__).with_name("clock.c")


def test_25_web_restarted(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        under_way = set(fault_run.flow.under_way.values())
        fault_run.mark_fault()
        faulty_stack.supervisorctl("restart", "web")
        fault_run.check_recovery(10)
        fault_run.check_errors("503")
        cut = [sample for sample in fault_run.flow.bad(fault_run.fault) if sample.sent in under_way]
        row.check(f"of {len(under_way)} requests under way failed: {len(cut)}", not cut)


def test_29_supervisord_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        orphans = set(faulty_stack.processes())
        fault_run.mark_fault()
        os.kill(int((faulty_stack.run_dir / "supervisord.pid").read_text()), signal.SIGKILL)
        time.sleep(5)
        bad = fault_run.flow.bad(fault_run.fault)
        row.check(f"errors while nobody supervises: {len(bad)}", not bad)
        begin = time.monotonic()
        faulty_stack.up()
        row.check_within("ready again after `up` and", time.monotonic() - begin, COLD_S)
        row.check("none of the old processes is left", not orphans & faulty_stack.processes().keys())
        names = list(faulty_stack.processes().values())
        row.check("one Triton", names.count("tritonserver") == 1)
        fault_run.check_recovery(COLD_S, "right answers after `up` and", since=begin)


def test_30_everything_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row, long_film: bytes) -> None:
    with fault_runs.of(faulty_stack, jobs=False) as fault_run:
        fault_run.submit_job(long_film, HOP_S)
        with httpx.Client(base_url=faulty_stack.url, timeout=30) as http:
            until(lambda: windows_done(http, fault_run.job) > 0, 30)
            fault_run.mark_fault()
            everything = processes.of_stack(faulty_stack.run_dir)
            for pid in everything:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert processes.wait_until_gone(everything, 10)
            begin = time.monotonic()
            faulty_stack.up()
            row.check_within("ready after", time.monotonic() - begin, COLD_S)
            fault_run.check_recovery(COLD_S, "right answers after", since=begin)
            job = wait_for_job(http, fault_run.job, 120)
            row.check(f"the job that was at work: {job['state']}", job["state"] == "done")


@pytest.fixture
def adrift() -> Iterator[tuple[Stack, Path]]:
    """A stack whose Python processes have another time of day, and the file with its offset in seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make the clock with")
    folder = Path(tempfile.mkdtemp(prefix="clock-"))
    folder.chmod(0o755)  # the programs' user reads both
    offset, library = folder / "offset", folder / "clock.so"
    offset.write_text(f"{0:+d}\n")
    command = [compiler, "-shared", "-fPIC", "-O1", f'-DOFFSET_FILE="{offset}"', "-o", library, CLOCK, "-ldl"]
    subprocess.run(command, check=True, timeout=60)

    def start(stack: Stack) -> None:
        environment = stack.settings.environment() | {"LD_PRELOAD": str(library)}
        command = [stack.python, "-m", "deploy.stack", "up"]
        subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, timeout=170)

    try:
        with running_stack(start=start) as stack:
            yield stack, offset
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(300)
def test_31_clock_jumps(adrift: tuple[Stack, Path], fault_runs: FaultRuns, row: Row, long_film: bytes) -> None:
    stack, offset = adrift
    with fault_runs.of(stack, jobs=False) as fault_run, httpx.Client(base_url=stack.url, timeout=30) as http:
        fault_run.mark_fault()
        for jump in (HOUR_S, -HOUR_S):
            fault_run.submit_job(long_film, HOP_S)
            until(lambda: windows_done(http, fault_run.job) > 0, 30)
            offset.write_text(f"{jump:+d}\n")
            job = wait_for_job(http, fault_run.job, 120)
            row.check(f"a job during a jump of {jump:+d} s: {job['state']}", job["state"] == "done")
            shift = datetime.fromisoformat(job["finished"]) - datetime.fromisoformat(job["created"])
            seen = abs(shift.total_seconds()) > HOUR_S - 1
            row.check(f"by its own account it took {shift.total_seconds():+.0f} s", seen)
        time.sleep(3)
        fault_run.check_recovery(0.0, "requests: errors until")
        fault_run.check_errors()
        row.check(f"programs that run: {stack.supervisorctl('status').count('RUNNING')}", ready(stack))


def test_32_gpu_memory(row: Row) -> None:
    pytest.skip("needs an NVIDIA GPU; there is none here")
