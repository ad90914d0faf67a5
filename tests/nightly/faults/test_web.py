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
from tests.nightly.faults.fault_run import Trials
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import alive, cpu_s, nginx_workers, send, stopped, web_workers
from tests.support.stack_state import owners_of_regions, pid_of, registered
from tests.support.stacks import until

GUNICORN_TIMEOUT_S = 20.0
AT_ONCE_S = 1.0
CLIENTS = 40  # more than there are slots in all workers
PART_BYTES = 600_000  # nginx holds 256 KiB in memory before it makes a file


def test_01_web_worker_killed(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        victim = web_workers(hurt)[0]
        trial.hurts()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(_regions_of_others(hurt, victim)) == owners_of_regions(hurt), 30)
        row.within("replaced after", time.monotonic() - trial.fault, 5)
        trial.steady(5)
        trial.only("503")
        later = [sample for sample in trial.flow.bad(trial.fault) if sample.sent > trial.fault + 0.2]
        row.holds(f"requests sent later that failed: {len(later)}", not later)


def _regions_of_others(stack: Stack, pid: int) -> set[str]:
    return {name for name in registered(stack) if f"-{pid}-" not in name}


def test_02_gunicorn_master_killed(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        trial.hurts()
        os.kill(pid_of(hurt, "web"), signal.SIGKILL)
        trial.steady(10)
        trial.only("503")
        slowest = max((sample.seconds for sample in trial.flow.bad(trial.fault)), default=0.0)
        row.within("slowest 503", slowest, AT_ONCE_S)


@pytest.mark.timeout(300)
def test_03_web_worker_stopped(hurt: Stack, trials: Trials, row: Row) -> None:
    victims = web_workers(hurt)[:1]
    _stopped_workers(hurt, trials, row, victims)


@pytest.mark.timeout(300)
def test_04_all_web_workers_stopped(hurt: Stack, trials: Trials, row: Row) -> None:
    flow = _stopped_workers(hurt, trials, row, web_workers(hurt))
    bound = hurt.settings.web_workers * hurt.settings.web_threads + 64 + 10  # of gunicorn's backlog, and of nginx's own
    row.holds(f"at most {flow} waited", flow <= bound)


def _stopped_workers(stack: Stack, trials: Trials, row: Row, victims: list[int]) -> int:
    with trials.of(stack) as trial:
        trial.hurts()
        with stopped(victims):
            until(lambda: not any(map(alive, victims)), 60)
            row.within("killed after", time.monotonic() - trial.fault, GUNICORN_TIMEOUT_S + 2)
        until(lambda: len(web_workers(stack)) == stack.settings.web_workers, 30)
        row.within("replaced after", time.monotonic() - trial.fault, GUNICORN_TIMEOUT_S + 2)
        trial.steady(GUNICORN_TIMEOUT_S + 2)
        trial.only("503")
        return trial.flow.most_under_way


@pytest.mark.timeout(300)
def test_20_no_descriptors(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial, ExitStack() as limits:
        workers = web_workers(hurt)
        trial.hurts()
        for worker in workers:
            limits.enter_context(_few_descriptors(worker))
        busy = _busy(workers, 10)  # for so long they have none
        limits.close()
        freed = time.monotonic()
        row.holds(f"{busy:.2f} processors used by both workers without descriptors", busy < 0.5)
        trial.steady(5, "right answers after there were some again,", since=freed)
        trial.only("503")


def _busy(pids: list[int], seconds: float) -> float:
    """Processors that these use in that time; what one used that ends meanwhile counts until shortly before."""
    began, before = time.monotonic(), {pid: cpu_s([pid]) for pid in pids}
    used = dict.fromkeys(pids, 0.0)
    while time.monotonic() < began + seconds:
        time.sleep(0.1)
        used = {pid: max(used[pid], cpu_s([pid]) - before[pid]) for pid in pids}
    return sum(used.values()) / (time.monotonic() - began)


@contextmanager
def _few_descriptors(pid: int) -> Iterator[None]:
    """As many as it has open now; the old limit after the block, if it still lives."""
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


def test_21_clients_go_in_the_middle_of_an_upload(
    hurt: Stack, trials: Trials, row: Row, films: dict[str, bytes]
) -> None:
    uploads, film = hurt.run_dir / "uploads", max(films.values(), key=len)
    with trials.of(hurt) as trial, ExitStack() as clients:
        log = hurt.run_dir / "logs" / "nginx-access.log"
        read, trial.fault = log.stat().st_size, time.monotonic()
        half = film.ljust(PART_BYTES, b"\0")
        for _ in range(CLIENTS):
            clients.enter_context(_sent(hurt, _head(hurt, 2 * PART_BYTES) + half))
        until(lambda: len(_larger_than(uploads, len(film))) >= CLIENTS, 10)
        clients.close()
        gone = time.monotonic()
        until(lambda: not _larger_than(uploads, len(film)), 10)  # the flow has some of its own
        row.within(f"files of {CLIENTS} clients gone after", time.monotonic() - gone, 1)
        trial.steady(0.0, "errors until")
    entries = [json.loads(line) for line in log.read_bytes()[read:].splitlines()]
    left = [entry for entry in entries if entry["status"] in (400, 499)]
    row.holds(f"{len(left)} uploads cut off", len(left) == CLIENTS)
    used = [entry for entry in left if entry["web_seconds"]]
    row.holds(f"that a worker saw: {len(used)}", not used)


def _larger_than(folder: Path, length: int) -> list[str]:
    """Files in `folder` that are larger, by their names."""
    found = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_size > length:
                found.append(path.name)
    return found


def test_22_clients_go_in_the_middle_of_an_inference(
    hurt: Stack, trials: Trials, row: Row, films: dict[str, bytes]
) -> None:
    film, slots = films["pan_left"], hurt.settings.slots * hurt.settings.web_workers
    with trials.of(hurt) as trial:
        trial.hurts()
        for number in range(2 * slots):
            going = _sent(hurt, _head(hurt, len(film)) + film)
            time.sleep(0.05 + 0.003 * (number % 32))  # somewhere between the queue and the answer
            going.close()
        went = time.monotonic()
        row.tell(f"{2 * slots} clients went, and there are {slots} slots")
        trial.steady(1.0, "right answers to all others after", since=went)
        trial.only("503 overloaded")


def _sent(stack: Stack, content: bytes) -> socket.socket:
    connection = socket.create_connection((stack.settings.host, stack.settings.port), timeout=10)
    connection.sendall(content)
    return connection


def test_23_reloads(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        trial.hurts()
        for _ in range(3):
            for program, workers in (("web", web_workers), ("nginx", nginx_workers)):
                before = set(workers(hurt))
                os.kill(pid_of(hurt, program), signal.SIGHUP)
                until(lambda old=before, now=workers: now(hurt) and not old & set(now(hurt)), 40)
        trial.steady(0.0, "errors until")
        trial.only()


def test_24_nginx_killed(hurt: Stack, trials: Trials, row: Row) -> None:
    with trials.of(hurt) as trial:
        trial.hurts()
        send(signal.SIGKILL, nginx_workers(hurt)[:1])
        trial.steady(1, "a worker: right answers after")
        trial.hurts()
        send(signal.SIGKILL, [pid_of(hurt, "nginx")])
        trial.steady(5, "the master: right answers after")
        others = [sample for sample in trial.flow.bad(trial.fault) if sample.status not in (0, 503)]
        row.holds(f"answers that are neither right nor 503: {len(others)}", not others)
