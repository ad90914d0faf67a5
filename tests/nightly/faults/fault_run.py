"""One fault under steady load, and the checks that are the same for every fault."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from deploy.stack.stack import Stack
from tests.nightly.faults.load import SHARED, ReferenceScores, SteadyLoad, running_load
from tests.nightly.faults.rows import Row
from tests.support.job_requests import wait_for_job
from tests.support.leaks import descendants
from tests.support.stack_state import owners_of_regions, ready, regions, registered
from tests.support.stacks import until

TIDY_S = 20.0  # until regions of dead processes are gone and no orphan is left
USUAL_HOP_S, HOP_S = 0.25, 0.06  # of a job beside the fault, and of the job that the fault affects
LONGEST_S = 120.0


@dataclass
class FaultRuns:
    """Start the fault runs of one row."""

    films: Mapping[str, bytes]
    long_film: bytes
    known: ReferenceScores
    rate: float
    row: Row

    @contextmanager
    def of(self, stack: Stack, *, jobs: bool = True, private_memory: bool = False) -> Iterator[FaultRun]:
        """Run a load of half the capacity for the block, in which the fault happens, and check the stack afterwards.

        Without `jobs` no job is submitted before; a stack with `private_memory` has its own /dev/shm.
        """
        stack.wait(60)
        flow = SteadyLoad(stack.url, self.films, self.known, self.rate)
        fault_run = FaultRun(stack, flow, self.row)
        with running_load(flow):
            if jobs:
                fault_run.submit_job(self.long_film, USUAL_HOP_S)
            until(lambda: flow.is_calm(flow.began), 30)
            fault_run.fault = time.monotonic()
            yield fault_run
        self.row.note(f"{self.rate:.0f} requests/s; answers: {_counted(flow, fault_run.fault)}")
        fault_run.check_aftermath(private_memory)


class FaultRun:
    """A stack under steady load, and the time of its fault."""

    def __init__(self, stack: Stack, flow: SteadyLoad, row: Row) -> None:
        self.stack, self.flow, self.row = stack, flow, row
        self.fault = time.monotonic()
        self.job = ""

    def submit_job(self, film: bytes, hop_s: float) -> None:
        answer = httpx.post(f"{self.stack.url}/v1/jobs", content=film, params={"hop_s": hop_s}, timeout=30)
        assert answer.status_code == 202, answer.text
        self.job = answer.json()["id"]

    def mark_fault(self) -> None:
        """Set the time of the fault to now."""
        self.fault = time.monotonic()

    def check_recovery(self, limit_s: float, what: str = "right answers after", since: float | None = None) -> None:
        """Wait for right responses and check that it took at most `limit_s` from the fault or from `since`."""
        begin = self.fault if since is None else since
        until(lambda: self.flow.is_calm(begin), LONGEST_S)
        self.row.check_within(what, self.flow.unsteady_s(begin), limit_s)

    def check_errors(self, *allowed: str) -> None:
        """Check that since the fault there were no errors but these, for instance "503 not_ready" or "503"."""
        statuses = self.flow.statuses(self.fault)
        others = {word: count for word, count in statuses.items() if not word.startswith(("200", *allowed))}
        self.row.check(f"other errors: {others or 'none'}", not others)

    def check_aftermath(self, private_memory: bool = False) -> None:
        """Check what holds in every row: right answers, complete jobs, no orphaned process, no leaked region."""
        row, stack = self.row, self.stack
        row.check(f"wrong answers: {len(self.flow.wrong())}", not self.flow.wrong())
        until(lambda: ready(stack), 30)
        if self.job:
            with httpx.Client(base_url=stack.url, timeout=30) as http:
                job = wait_for_job(http, self.job, LONGEST_S)
            windows, progress = job["timeline"] and job["timeline"]["windows"], job["progress"]
            whole = job["state"] == "done" and len(windows) == progress["windows"]
            row.check(f"the job before it: {job['state']}", whole)
        row.check(
            "no orphan" if _soon(lambda: not orphans(stack)) else f"orphans: {orphans(stack)}", not orphans(stack)
        )
        if not private_memory:
            tidy = _soon(
                lambda: len(regions(stack)) == owners_of_regions(stack) and regions(stack) == registered(stack)
            )
            row.check("no region left" if tidy else f"regions {regions(stack)}, known {registered(stack)}", tidy)

    def by_shared_memory(self) -> bool:
        """Return whether the last responses came through shared memory."""
        return all(sample.transport == SHARED for sample in self.flow.samples[-10:])


def orphans(stack: Stack) -> dict[int, str]:
    """Return the processes of the stack that are not descendants of its supervisord."""
    number = int((stack.run_dir / "supervisord.pid").read_text())
    family = descendants(number) | {number}
    return {pid: name for pid, name in stack.processes().items() if pid not in family}


def _soon(condition: object) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + TIDY_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _counted(flow: SteadyLoad, fault: float) -> str:
    return ", ".join(f"{count}x {word}" for word, count in sorted(flow.statuses(fault).items()))
