"""Web workers and nginx are killed, stopped and reloaded; clients go away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import FaultRuns
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import alive, cpu_s, nginx_workers, send, stopped, web_workers
from tests.support.stack_state import owners_of_regions, pid_of, registered
from tests.support.stacks import until

GUNICORN_TIMEOUT_S = 20.0
AT_ONCE_S = 1.0
CLIENTS = 40  # more than there are slots in all workers
PART_BYTES = 600_000  # nginx holds 256 KiB in memory before it makes a file


def test_01_web_worker_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        victim = web_workers(faulty_stack)[0]
        fault_run.mark_fault()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(_regions_of_others(faulty_stack, victim)) == owners_of_regions(faulty_stack), 30)
        row.check_within("replaced after", time.monotonic() - fault_run.fault, 5)
        fault_run.check_recovery(5)
        fault_run.check_errors("503")
        later = [sample for sample in fault_run.flow.bad(fault_run.fault) if sample.sent > fault_run.fault + 0.2]
        row.check(f"requests sent later that failed: {len(later)}", not later)


def _regions_of_others(stack: Stack, pid: int) -> set[str]:
    return {name for name in registered(stack) if f"-{pid}-" not in name}


def test_02_gunicorn_master_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        fault_run.mark_fault()
        os.kill(pid_of(faulty_stack, "web"), signal.SIGKILL)
        fault_run.check_recovery(10)
        fault_run.check_errors("503")
        slowest = max((sample.seconds for sample in fault_run.flow.bad(fault_run.fault)), default=0.0)
        row.check_within("slowest 503", slowest, AT_ONCE_S)


@pytest.mark.timeout(300)
def test_03_web_worker_stopped(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    victims = web_workers(faulty_stack)[:1]
    _stopped_workers(faulty_stack, fault_runs, row, victims)


@pytest.mark.timeout(300)
def test_04_all_web_workers_stopped(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    flow = _stopped_workers(faulty_stack, fault_runs, row, web_workers(faulty_stack))
    bound = (
        faulty_stack.settings.web_workers * faulty_stack.settings.web_threads + 64 + 10
    )  # of gunicorn's backlog, and of nginx's own
    row.check(f"at most {flow} waited", flow <= bound)


def _stopped_workers(stack: Stack, fault_runs: FaultRuns, row: Row, victims: list[int]) -> int:
    with fault_runs.of(stack) as fault_run:
        fault_run.mark_fault()
        with stopped(victims):
            until(lambda: not any(map(alive, victims)), 60)
            row.check_within("killed after", time.monotonic() - fault_run.fault, GUNICORN_TIMEOUT_S + 2)
        until(lambda: len(web_workers(stack)) == stack.settings.web_workers, 30)
        row.check_within("replaced after", time.monotonic() - fault_run.fault, GUNICORN_TIMEOUT_S + 2)
        fault_run.check_recovery(GUNICORN_TIMEOUT_S + 2)
        fault_run.check_errors("503")
        return fault_run.flow.most_under_way


@pytest.mark.timeout(300)
def test_20_no_descriptors(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run, ExitStack() as limits:
        workers = web_workers(faulty_stack)
        fault_run.mark_fault()
        for worker in workers:
            limits.enter_context(_few_descriptors(worker))
        busy = _busy(workers, 10)  # they have none for this time
        limits.close()
        freed = time.monotonic()
        row.check(f"{busy:.2f} processors used by both workers without descriptors", busy < 0.5)
        fault_run.check_recovery(5, "right answers after there were some again,", since=freed)
        fault_run.check_errors("503")


def _busy(pids: list[int], seconds: float) -> float:
    """Return the CPUs that the processes use during `seconds`."""
    began, before = time.monotonic(), {pid: cpu_s([pid]) for pid in pids}
    used = dict.fromkeys(pids, 0.0)
    while time.monotonic() < began + seconds:
        time.sleep(0.1)
        used = {pid: max(used[pid], cpu_s([pid]) - before[pid]) for pid in pids}
    return sum(used.values()) / (time.monotonic() - began)


@contextmanager
def _few_descriptors(pid: int) -> Iterator[None]:
    """Limit a process to its currently open descriptors for the block."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (soft,) = [int(line.split()[3]) for line in limits if line.startswith("Max open files")]
    _limit(pid, max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1)
    try:
        yield
    finally:
        if alive(pid):
            _limit(pid, soft)


def _limit(pid: int, descriptors: int) -> None:
    owner = os.stat(f"/proc/{pid}")  # root may not do it without CAP_SYS_RESOURCE, but the process's own user may
    command = ["prlimit", "--pid", str(pid), f"--nofile={descriptors}:"]
    subprocess.run(command, user=owner.st_uid, group=owner.st_gid, extra_groups=[], check=True, timeout=10)


def _head(stack: Stack, length: int) -> bytes:
    return (
        f"POST /v1/classify HTTP/1.1\r\nHost: {stack.settings.host}\r\nUser-Agent: goes\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def test_21_clients_go_in_middle_of_upload(
    faulty_stack: Stack, fault_runs: FaultRuns, row: Row, films: dict[str, bytes]
) -> None:
    uploads, film = faulty_stack.run_dir / "uploads", max(films.values(), key=len)
    with fault_runs.of(faulty_stack) as fault_run, ExitStack() as clients:
        log = faulty_stack.run_dir / "logs" / "nginx-access.log"
        read, fault_run.fault = log.stat().st_size, time.monotonic()
        half = film.ljust(PART_BYTES, b"\0")
        for _ in range(CLIENTS):
            clients.enter_context(_sent(faulty_stack, _head(faulty_stack, 2 * PART_BYTES) + half))
        until(lambda: len(_larger_than(uploads, len(film))) >= CLIENTS, 10)
        clients.close()
        gone = time.monotonic()
        until(lambda: not _larger_than(uploads, len(film)), 10)  # requests of the load have some, too
        row.check_within(f"files of {CLIENTS} clients gone after", time.monotonic() - gone, 1)
        fault_run.check_recovery(0.0, "errors until")
    entries = [json.loads(line) for line in log.read_bytes()[read:].splitlines()]
    left = [entry for entry in entries if entry["status"] in (400, 499)]
    row.check(f"{len(left)} uploads cut off", len(left) == CLIENTS)
    used = [entry for entry in left if entry["web_seconds"]]
    row.check(f"that a worker saw: {len(used)}", not used)


def _larger_than(folder: Path, length: int) -> list[str]:
    """Return the names of the files in `folder` that are larger."""
    names = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_size > length:
                names.append(path.name)
    return names


def test_22_clients_go_in_middle_of_inference(
    faulty_stack: Stack, fault_runs: FaultRuns, row: Row, films: dict[str, bytes]
) -> None:
    film, slots = films["pan_left"], faulty_stack.settings.slots * faulty_stack.settings.web_workers
    with fault_runs.of(faulty_stack) as fault_run:
        fault_run.mark_fault()
        for number in range(2 * slots):
            going = _sent(faulty_stack, _head(faulty_stack, len(film)) + film)
            time.sleep(0.05 + 0.003 * (number % 32))  # somewhere between the queue and the answer
            going.close()
        went = time.monotonic()
        row.note(f"{2 * slots} clients went, and there are {slots} slots")
        fault_run.check_recovery(1.0, "right answers to all others after", since=went)
        fault_run.check_errors("503 overloaded")


def _sent(stack: Stack, content: bytes) -> socket.socket:
    connection = socket.create_connection((stack.settings.host, stack.settings.port), timeout=10)
    connection.sendall(content)
    return connection


def test_23_reloads(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        fault_run.mark_fault()
        for _ in range(3):
            for program, workers in (("web", web_workers), ("nginx", nginx_workers)):
                before = set(workers(faulty_stack))
                os.kill(pid_of(faulty_stack, program), signal.SIGHUP)
                until(lambda old=before, now=workers: now(faulty_stack) and not old & set(now(faulty_stack)), 40)
        fault_run.check_recovery(0.0, "errors until")
        fault_run.check_errors()


def test_24_nginx_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    with fault_runs.of(faulty_stack) as fault_run:
        fault_run.mark_fault()
        send(signal.SIGKILL, nginx_workers(faulty_stack)[:1])
        fault_run.check_recovery(1, "a worker: right answers after")
        fault_run.mark_fault()
        send(signal.SIGKILL, [pid_of(faulty_stack, "nginx")])
        fault_run.check_recovery(5, "the master: right answers after")
        others = [sample for sample in fault_run.flow.bad(fault_run.fault) if sample.status not in (0, 503)]
        row.check(f"answers that are neither right nor 503: {len(others)}", not others)
