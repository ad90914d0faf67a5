"""Disks are full, and a folder cannot be written."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import FaultRuns
from tests.nightly.faults.private_mounts import Enclosure, no_enclosure
from tests.nightly.faults.rows import Row
from tests.nightly.faults.stack_processes import nginx_workers, send, web_workers
from tests.support.leaks import descendants
from tests.support.stacks import CHECKOUT, own_environment, running_stack, until

FULL_S = 5.0
UPLOADS = 10
PART_BYTES = 600_000  # nginx holds 256 KiB in memory before it makes a file


@contextmanager
def enclosed(*folders: str) -> Iterator[tuple[Enclosure, Stack]]:
    """A stack in which these folders of its run folder are small disks."""
    if reason := no_enclosure():
        pytest.skip(reason)
    enclosure = Enclosure(lambda stack: {stack.run_dir / folder: "32m" for folder in folders})
    with running_stack(start=enclosure.start, web_workers="2") as stack:
        yield enclosure, stack


def test_17_disk_full(fault_runs: FaultRuns, row: Row, films: dict[str, bytes], long_film: bytes) -> None:
    large = films["pan_left"] + bytes(
        8 << 20
    )  # bytes at the end do not change an MP4; nginx must write the file to its disk
    with enclosed("uploads", "data") as (enclosure, stack), fault_runs.of(stack) as fault_run:
        fault_run.mark_fault()
        for folder, address in (("uploads", "/v1/classify"), ("data", "/v1/jobs")):
            enclosure.fill(stack, stack.run_dir / folder)
            counts, ends = Counter[str](), time.monotonic() + FULL_S
            while time.monotonic() < ends:
                answer = httpx.post(f"{stack.url}{address}", content=large, timeout=30)
                code = "" if answer.status_code < 300 else f" {answer.json()['error']['code']}"
                counts[f"{answer.status_code}{code}"] += 1
            row.check(f"{folder} full: {dict(counts)} to {address}", set(counts) == {"503 storage_full"})
            enclosure.empty(stack, stack.run_dir / folder)
            freed = time.monotonic()
            fault_run.check_recovery(5, "right answers after there was room and", since=freed)
        answer = httpx.post(f"{stack.url}/v1/jobs", content=long_film, timeout=30)
        row.check(f"a job then: {answer.status_code}", answer.status_code == 202)
        fault_run.check_errors("503 storage_full")


def test_18_uploads_not_writable(row: Row, tmp_path: Path) -> None:
    if reason := no_enclosure():
        pytest.skip(reason)
    tmp_path.chmod(0o755)
    enclosure = Enclosure(lambda stack: {stack.run_dir / "uploads": "ro"})
    other = Stack(CHECKOUT, own_environment(tmp_path, model_dir=str(CHECKOUT / "triton_repo" / "models")))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        enclosure.start(other)
    output = refused.value.stderr.strip().replace(str(other.run_dir), "…")
    row.check(f"said: {output[:160]}", "uploads" in output and len(output.splitlines()) == 1)
    row.check("nothing runs", not other.processes())


def test_19_log_disk_full(fault_runs: FaultRuns, row: Row) -> None:
    with enclosed("logs") as (enclosure, stack), fault_runs.of(stack) as fault_run:
        workers = web_workers(stack)
        fault_run.mark_fault()
        enclosure.fill(stack, stack.run_dir / "logs")
        time.sleep(FULL_S)
        fault_run.check_recovery(0.0, "errors until")
        fault_run.check_errors()
        row.check("the same workers", web_workers(stack) == workers)
        row.check(
            f"all programs run: {stack.supervisorctl('status').count('RUNNING')}",
            stack.supervisorctl("status").count("RUNNING") == 5,
        )
        enclosure.empty(stack, stack.run_dir / "logs")


@pytest.mark.timeout(300)
def test_44_leftovers_of_the_killed(faulty_stack: Stack, fault_runs: FaultRuns, row: Row) -> None:
    uploads, temporary = faulty_stack.run_dir / "uploads", faulty_stack.run_dir / paths.TEMPORARY_FOLDER
    with fault_runs.of(faulty_stack) as fault_run, ExitStack() as clients:
        fault_run.mark_fault()
        before = set(uploads.iterdir())
        for _ in range(UPLOADS):
            clients.enter_context(half_an_upload(faulty_stack))
        until(lambda: len(opened(faulty_stack, uploads)) >= UPLOADS, 10)
        send(signal.SIGKILL, nginx_workers(faulty_stack)[:1])
        until(lambda: set(uploads.iterdir()) - before - opened(faulty_stack, uploads), 10)
        under_way = [clients.enter_context(half_an_upload(faulty_stack)) for _ in range(UPLOADS)]
        until(lambda: len(opened(faulty_stack, uploads)) >= UPLOADS, 10)
        time.sleep(0.5)  # until earlier requests of the load are answered
        held = opened(faulty_stack, uploads)
        left = set(uploads.iterdir()) - held - before
        victim = web_workers(faulty_stack)[0]
        folders = set(temporary.glob("pymp-*"))
        send(signal.SIGKILL, [victim, *descendants(victim)])
        until(lambda: len(set(temporary.glob("pymp-*"))) > len(folders), 30)
        age([*uploads.iterdir(), *folders])
        begun = time.monotonic()
        until(lambda: not any(path.exists() for path in left), 60)
        until(lambda: sum(path.exists() for path in folders) == len(folders) - 1, 60)
        row.check_within(
            f"{len(left)} uploads and a folder of a killed worker gone after", time.monotonic() - begun, 30
        )
        kept = sum(path.exists() for path in held)
        row.check(f"uploads under way: {len(under_way)}; files of them: {kept}", kept >= len(under_way))
        fault_run.check_recovery(30, "right answers after", since=begun)


def half_an_upload(stack: Stack) -> socket.socket:
    """A client that has sent half of its file, enough for nginx to create a temporary file."""
    connection = socket.create_connection((stack.settings.host, stack.settings.port), timeout=10)
    head = f"POST /v1/classify HTTP/1.1\r\nHost: {stack.settings.host}\r\nContent-Length: {2 * PART_BYTES}\r\n\r\n"
    connection.sendall(head.encode() + bytes(PART_BYTES))
    return connection


def opened(stack: Stack, folder: Path) -> set[Path]:
    """Return the files in `folder` that workers of nginx have open."""
    files = set()
    for pid in nginx_workers(stack):
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    files.add(Path(os.readlink(link)))
    return {path for path in files if path.parent == folder}


def age(paths: list[Path]) -> None:
    """Set the times of the files back, so that they count as leftovers."""
    then = time.time() - 3600
    for path in paths:
        with suppress(FileNotFoundError):
            os.utime(path, (then, then))
