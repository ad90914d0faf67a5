"""Job workers die, kills come at any moment, the queue is locked and corrupt."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import httpx
import pytest

from app.jobs.storage.journal import read
from app.jobs.storage.store import Job
from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import HOP_S, FaultRuns
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import children, send, stopped
from tests.support.films import numbered, write_video
from tests.support.job_requests import journal, wait_for_job, windows_done
from tests.support.stack_state import pid_of
from tests.support.stacks import running_stack, until

KILLS = 200
LOCKED_S = 15.0
MAX_DEATHS, MOST = 3, 12


@pytest.fixture
def http(faulty_stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=faulty_stack.url, timeout=30) as client:
        yield client


@pytest.mark.timeout(300)
def test_26_job_worker_killed(
    faulty_stack: Stack, fault_runs: FaultRuns, row: Row, http: httpx.Client, long_film: bytes
) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        fault_run.submit_job(long_film, HOP_S)
        whole = wait_for_job(http, fault_run.job, 120)
        fault_run.submit_job(long_film, HOP_S)
        until(lambda: windows_done(http, fault_run.job) > 0, 30)
        fault_run.mark_fault()
        os.kill(pid_of(faulty_stack, "jobs"), signal.SIGKILL)
        before = windows_done(http, fault_run.job)
        until(lambda: windows_done(http, fault_run.job) > before, 60)
        row.check_within("went on after", time.monotonic() - fault_run.fault, 30)
        job = wait_for_job(http, fault_run.job, 120)
        read(journal(faulty_stack, fault_run.job))  # raises if a window is missing or duplicated
        same = job["timeline"]["segments"] == whole["timeline"]["segments"]
        row.check("one result, the same as without", same)
        fault_run.check_recovery(0.0, "requests: errors until")
        fault_run.check_errors()
    deaths, state = _killed_at_one_window(faulty_stack, http, long_film)
    row.check(f"{state} after {deaths} deaths at one window", (state, deaths) == ("failed", MAX_DEATHS))


def _killed_at_one_window(stack: Stack, http: httpx.Client, film: bytes) -> tuple[int, str]:
    """Kill the job worker MOST times during a job that makes no progress, because Triton is stopped."""
    with _unwatched(stack), stopped([pid_of(stack, "triton")]):
        job = Job(
            stack.settings.data_dir / "jobs" / http.post("/v1/jobs", content=film).raise_for_status().json()["id"]
        )
        until(lambda: job.state().state == "running", 30)
        deaths = 0
        while deaths < MOST and job.state().state != "failed":
            worker = pid_of(stack, "jobs")
            os.kill(worker, signal.SIGKILL)
            deaths += 1
            until(lambda old=worker: pid_of(stack, "jobs") not in (0, old), 30)
            until(lambda seen=deaths: job.state().deaths >= seen or job.state().state == "failed", 60)
        state = job.state().state
    stack.wait(60)
    return deaths, state


@contextmanager
def _unwatched(stack: Stack) -> Iterator[None]:
    """Stop the watchdog for the block, because it would replace Triton."""
    stack.supervisorctl("stop", "watchdog")
    try:
        yield
    finally:
        stack.supervisorctl("start", "watchdog")


@pytest.fixture
def roomy() -> Iterator[Stack]:
    with running_stack(max_jobs="5000", web_workers="2") as stack:
        yield stack


def killable(stack: Stack, victim: str) -> list[int]:
    """Return its process; None while the last one has no successor."""
    if victim == "the job worker":
        return [jobs] if (jobs := pid_of(stack, "jobs")) else []
    master = pid_of(stack, "web")
    workers = children(master) if master else []
    if len(workers) < stack.settings.web_workers:
        return []
    return [master] if victim == "gunicorn" else workers[:1]


@pytest.mark.timeout(900)
def test_27_kills_at_random_moments(
    roomy: Stack, fault_runs: FaultRuns, row: Row, tmp_path_factory: pytest.TempPathFactory
) -> None:
    film = write_video(tmp_path_factory.mktemp("short") / "short.mp4", map(numbered, range(30))).read_bytes()
    accepted, others, ends, chance = list[str](), list[str](), threading.Event(), random.Random(27)

    def submit_job() -> None:
        with httpx.Client(base_url=roomy.url, timeout=30) as http:
            while not ends.is_set():
                with suppress(httpx.HTTPError):
                    answer = http.post("/v1/jobs", content=film)
                    (accepted if answer.status_code == 202 else others).append(answer.json().get("id", ""))
                ends.wait(0.2)

    def more_than(before: int) -> bool:
        return len(accepted) > before

    office = threading.Thread(target=submit_job)
    kills = dict.fromkeys(("a web worker", "gunicorn", "the job worker"), 0)
    with fault_runs.of(roomy, jobs=False) as fault_run:
        office.start()
        fault_run.mark_fault()
        try:
            for number in range(KILLS):
                victim = ["a web worker", "the job worker", "a web worker", "gunicorn"][number % 4]
                if number % 4 == 0:  # let some jobs finish
                    until(partial(more_than, len(accepted)), 60)
                time.sleep(chance.uniform(0.0, 0.6))
                send(signal.SIGKILL, until(partial(killable, roomy, victim), 60))
                kills[victim] += 1
            last = time.monotonic()
        finally:
            ends.set()
            office.join()
        fault_run.check_recovery(30, since=last)
    with httpx.Client(base_url=roomy.url, timeout=30) as http:
        lost = [job_id for job_id in accepted if http.get(f"/v1/jobs/{job_id}").status_code != 200]
    row.note(f"kills of {kills}")
    row.check(f"of {len(accepted)} accepted jobs lost: {len(lost)}", not lost and len(accepted) > KILLS / 4)


@pytest.mark.timeout(300)
def test_28_queue_locked_and_corrupt(
    faulty_stack: Stack, fault_runs: FaultRuns, row: Row, http: httpx.Client, long_film: bytes
) -> None:
    queue = faulty_stack.settings.data_dir / "queue.db"

    def submit_job() -> tuple[str, float]:
        begin = time.monotonic()
        answer = http.post("/v1/jobs", content=long_film)
        body = answer.json()
        return (body["id"] if answer.status_code == 202 else f"{answer.status_code}"), time.monotonic() - begin

    with fault_runs.of(faulty_stack) as fault_run:
        wait_for_job(http, fault_run.job, 120)
        before = {job["id"] for job in http.get("/v1/jobs", params={"limit": 200}).json()["jobs"]}
        fault_run.mark_fault()
        held = sqlite3.connect(queue, isolation_level=None)
        held.execute("BEGIN EXCLUSIVE")
        body, seconds = submit_job()
        until(lambda: time.monotonic() > fault_run.fault + LOCKED_S, LOCKED_S + 30)
        held.execute("ROLLBACK")
        held.close()
        row.check(
            f"locked: {'accepted' if len(body) == 24 else body} after {seconds:.1f} s", len(body) == 24 or body == "503"
        )
        if len(body) == 24:
            row.check(
                f"and {wait_for_job(http, body, 120)['state']} later", wait_for_job(http, body)["state"] == "done"
            )
        fault_run.check_recovery(0.0, "requests: errors until")
        fault_run.mark_fault()
        queue.write_bytes(b"this is no database " * 500)
        body, seconds = submit_job()
        row.check(
            f"corrupt: {'accepted' if len(body) == 24 else body} after {seconds:.1f} s",
            len(body) == 24 or body == "503",
        )
        left = {job["id"] for job in http.get("/v1/jobs", params={"limit": 200}).json()["jobs"]}
        row.check(f"jobs lost: {len(before - left)} of {len(before)}", before <= left)
        fault_run.check_recovery(0.0, "requests: errors until")
        fault_run.check_errors()
        # The last writes are in the write-ahead log: only a process that opens the file after all others closed it
        # sees the damage
        fault_run.mark_fault()
        send(
            signal.SIGKILL,
            [pid_of(faulty_stack, "web"), *children(pid_of(faulty_stack, "web")), pid_of(faulty_stack, "jobs")],
        )
        fault_run.check_recovery(30, "all of its users killed: right answers after")
        fault_run.check_errors("503")
        left = {job["id"] for job in http.get("/v1/jobs", params={"limit": 200}).json()["jobs"]}
        row.check(f"jobs lost: {len(before - left)} of {len(before)}", before <= left)
        state = wait_for_job(http, body, 120)["state"] if len(body) == 24 else "not accepted"
        row.check(f"the job of the corrupt queue: {state}", state in ("done", "not accepted"))
