"""What was promised of each fault, and what was measured of it: one row of the table in docs/reliability.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import environment
from tests.support.stacks import CHECKOUT

FOLDER = CHECKOUT / ".runtime" / "faults"

Promises = Mapping[int, tuple[str, str]]

OVERLOADED = (
    "who is let in is answered within the deadline (p99); all others 429 or 503 with Retry-After, p99 within 100 ms; "
    "nothing else; as before within 10 s"
)

# Number in the table: the fault, and what is to happen then, besides what `load.py` looks at in every row.
PROMISES: dict[int, tuple[str, str]] = {
    1: ("kill -9 of a web worker", "only its own requests get 503; replaced within 5 s"),
    2: ("kill -9 of gunicorn's master", "503 at once; right answers within 10 s"),
    3: ("SIGSTOP of one web worker", "replaced within its timeout (20 s) + 2 s"),
    4: ("SIGSTOP of all web workers", "the same; the queue is bounded"),
    5: ("a file that makes its decoder spin", "422 within the limit + 0.5 s; its place is free again"),
    6: ("a file that makes its decoder abort, or take all memory", "422 for that request alone"),
    7: ("kill -9 of Triton", "not ready within 2 s; all regions known again; right answers within its load + 5 s"),
    8: ("SIGSTOP of Triton for 30 s", "503 at once after a while; no slot is used twice; within 5 s after SIGCONT"),
    9: ("kill -9 of a model's process", "right answers within 15 s"),
    10: ("a model's process hangs (SIGSTOP)", "right answers within 20 s"),
    11: (
        "a model cannot be loaded, ten times",
        "not ready and counted; right answers within 40 s when the cause is gone",
    ),
    12: ("somebody else unregisters a region", "known again within 1 s; no error"),
    13: ("kill -9 of all web processes", "the names that are left stop nothing; right answers within 10 s"),
    14: ("a second stack on the same ports or folder", "refuses to start; the first goes on"),
    15: ("/dev/shm full, at the start and later", "a clear refusal; later nothing happens"),
    16: ("a region is truncated", "as 7: right answers within Triton's load + 5 s"),
    17: ("the disk of uploads and jobs is full", "503 storage_full; jobs whole; within 5 s after there is room"),
    18: ("the folder of uploads cannot be written", "refuses to start, and says why"),
    19: ("the disk of the logs is full", "goes on"),
    20: ("web workers have no file descriptors left", "503; nobody spins; within 5 s after"),
    21: ("clients go in the middle of an upload", "no worker is used; their files gone within 1 s"),
    22: ("clients go in the middle of an inference", "their slots are free again"),
    23: ("HUP to gunicorn and reload of nginx, three times", "no error"),
    24: ("kill -9 of a worker of nginx, and of its master", "right answers within 1 s, and within 5 s"),
    25: ("restart of web by Supervisor", "requests under way finish; new ones get 503"),
    26: ("kill -9 of the job worker", "goes on within 30 s; one result; given up after 3 deaths at one window"),
    27: ("200 kills at random moments", "every job that was accepted is there"),
    28: ("the jobs' queue is locked, then corrupt", "503 or accepted for good; nothing is begun anew"),
    29: ("kill -9 of supervisord", "no second stack beside the first"),
    30: ("kill -9 of everything", "ready after one start; jobs go on"),
    31: ("the clock jumps by an hour, both ways", "nothing happens"),
    32: ("a GPU without memory; whoever exports its memory dies", "503 for that request; Triton goes on"),
    40: (
        "keys are asked for; web is stopped (SIGSTOP), gone, or has no thread free",
        "uploads without a key 401 or 503 within 5 s, with one answered or 503; nothing on the disk",
    ),
    41: (
        "8 uploads that send 2 MiB at once and then a byte a second; the disk of uploads is nearly full",
        "their room is free within 130 s and they are told so; 503 storage_full before the body",
    ),
    42: (
        "records of jobs are damaged: cut off, zeros, a FIFO, no folder; their index too",
        "lists, new jobs and metrics go on; what is damaged is set aside and counted; no other job is lost",
    ),
    43: (
        "decoders are killed at work, as the OOM killer does (SIGKILL), once and again and again",
        "the file is tried again: 200; if it goes on, 503 with Retry-After; never 422; jobs end well",
    ),
    44: (
        "kill -9 of nginx's worker in the middle of uploads, and of a web worker with all its processes",
        "what they left is gone within 30 s; uploads under way are not touched",
    ),
    45: (
        "24 clients hand jobs in at once; 10,000 finished jobs are kept",
        "no more jobs than places; a list and a new job within 50 ms",
    ),
    46: ("two stacks started together, one Triton killed", "each answers from its own Triton; the other goes on"),
}

# The same of more work than can be done; C is what the same stack answered when it was asked as fast as it answers.
LOADS: dict[int, tuple[str, str]] = {
    101: ("0.7 C", "no error; p99 within 3 times that of one request after the other"),
    102: ("2 C", f"goodput at least 0.9 C; {OVERLOADED}"),
    103: ("5 C", f"goodput at least 0.85 C; {OVERLOADED}"),
    104: ("10 C", f"goodput at least 0.8 C; {OVERLOADED}; no more memory afterwards"),
    105: ("a step from 0.5 C to 5 C and back", "as before within 10 s"),
    106: ("200 slow uploads beside 0.5 C", "p99 at most 20 % and 10 ms longer; their files gone within 1 s"),
    107: ("one key at 10 C, another at 0.3 C", "the other has no error; its p99 within 3 times that without it"),
}


@dataclass
class Row:
    """One row while it is measured; `verify` at its end."""

    number: int
    measured: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check_within(self, what: str, seconds: float, limit_s: float) -> None:
        """Something took `seconds`, and `limit_s` were promised."""
        told = f"{seconds * 1e3:.0f} ms" if 0 < limit_s < 0.5 else f"{seconds:.1f} s"
        self.check(f"{what} {told}", seconds <= limit_s)

    def check(self, what: str, so: bool) -> None:
        """Says what was measured, and whether that is what was promised."""
        self.measured.append(what)
        if not so:
            self.broken.append(what)

    def note(self, what: str) -> None:
        """Measured, and nothing was promised about it."""
        self.measured.append(what)

    def verify(self) -> None:
        assert not self.broken, f"promised: {(PROMISES | LOADS)[self.number][1]}; measured: {'; '.join(self.broken)}"

    def write(self, verdict: str, why: str) -> None:
        """Keeps the row for the table; `why` when it was skipped, or ended by something nobody foresaw."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        told = asdict(self) | {"verdict": verdict, "why": why, "machine": environment.describe_machine()}
        (FOLDER / f"{self.number:02}.json").write_text(json.dumps(told, indent=1) + "\n")


def kept() -> dict[int, dict[str, Any]]:
    """The rows that were measured here, each the last time that it was."""
    rows = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    return {row["number"]: row for row in rows}
