"""Disks are full, and a folder cannot be written."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.stack import Stack
from tests.faults.enclosed import Enclosure, no_enclosure
from tests.faults.promise import Row
from tests.faults.trial import Trials
from tests.faults.victims import web_workers
from tests.stack.running import CHECKOUT, own_environment, running_stack

FULL_S = 5.0


@contextmanager
def enclosed(*folders: str) -> Iterator[tuple[Enclosure, Stack]]:
    """A stack of which these folders, in its run folder, are small disks of their own."""
    if reason := no_enclosure():
        pytest.skip(reason)
    enclosure = Enclosure(lambda stack: {stack.run_dir / folder: "32m" for folder in folders})
    with running_stack(start=enclosure.start) as stack:
        yield enclosure, stack


def test_17_disk_full(trials: Trials, row: Row, films: dict[str, bytes], long_film: bytes) -> None:
    large = films["pan_left"] + bytes(8 << 20)  # nothing at the end harms an MP4; nginx has to write it to its disk
    with enclosed("uploads", "data") as (enclosure, stack), trials.of(stack) as trial:
        trial.hurts()
        for folder, address in (("uploads", "/v1/classify"), ("data", "/v1/jobs")):
            enclosure.fill(stack, stack.run_dir / folder)
            told, ends = Counter[str](), time.monotonic() + FULL_S
            while time.monotonic() < ends:
                answer = httpx.post(f"{stack.url}{address}", content=large, timeout=30)
                code = "" if answer.status_code < 300 else f" {answer.json()['error']['code']}"
                told[f"{answer.status_code}{code}"] += 1
            row.holds(f"{folder} full: {dict(told)} to {address}", set(told) == {"503 storage_full"})
            enclosure.empty(stack, stack.run_dir / folder)
            freed = time.monotonic()
            trial.steady(5, "right answers after there was room and", since=freed)
        answer = httpx.post(f"{stack.url}/v1/jobs", content=long_film, timeout=30)
        row.holds(f"a job then: {answer.status_code}", answer.status_code == 202)
        trial.only("503 storage_full")


def test_18_uploads_not_writable(row: Row, tmp_path: Path) -> None:
    if reason := no_enclosure():
        pytest.skip(reason)
    tmp_path.chmod(0o755)
    enclosure = Enclosure(lambda stack: {stack.run_dir / "uploads": "ro"})
    other = Stack(CHECKOUT, own_environment(tmp_path, model_dir=str(CHECKOUT / "triton_repo" / "models")))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        enclosure.start(other)
    said = refused.value.stderr.strip().replace(str(other.run_dir), "…")
    row.holds(f"said: {said[:160]}", "uploads" in said and len(said.splitlines()) == 1)
    row.holds("nothing runs", not other.processes())


def test_19_log_disk_full(trials: Trials, row: Row) -> None:
    with enclosed("logs") as (enclosure, stack), trials.of(stack) as trial:
        workers = web_workers(stack)
        trial.hurts()
        enclosure.fill(stack, stack.run_dir / "logs")
        time.sleep(FULL_S)
        trial.steady(0.0, "errors until")
        trial.only()
        row.holds("the same workers", web_workers(stack) == workers)
        row.holds(
            f"all programs run: {stack.supervisorctl('status').count('RUNNING')}",
            stack.supervisorctl("status").count("RUNNING") == 5,
        )
        enclosure.empty(stack, stack.run_dir / "logs")
