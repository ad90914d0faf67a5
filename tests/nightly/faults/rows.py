"""Promises and measurements of the rows in the tables of docs/reliability.md."""

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
    "accepted requests finish within the deadline (p99); all others get 429 or 503 with Retry-After, p99 within 100 ms; "
    "no other errors; normal again within 10 s"
)

# Number in the table: the fault and its promise, in addition to the checks of every row in `load.py`.
PROMISES: dict[int, tuple[str, str]] = {
    1: ("kill -9 of a web worker", "only its own requests get 503; replaced within 5 s"),
    2: ("kill -9 of gunicorn's master", "503 at once; right answers within 10 s"),
    3: ("SIGSTOP of one web worker", "replaced within its timeout (20 s) + 2 s"),
    4: ("SIGSTOP of all web workers", "the same; the queue is bounded"),
    5: ("a file that makes its decoder spin", "422 within the limit + 0.5 s; its place is free again"),
    6: ("a file that makes its decoder abort, or take all memory", "422 for that request alone"),
    7: (
        "kill -9 of Triton",
        "not ready within 2 s; all regions registered again; right answers within its load time + 5 s",
    ),
    8: (
        "SIGSTOP of Triton for 30 s",
        "503 at once after some seconds; no slot is used twice; right answers within 5 s after SIGCONT",
    ),
    9: ("kill -9 of a model's process", "right answers within 15 s"),
    10: ("a model's process hangs (SIGSTOP)", "right answers within 20 s"),
    11: (
        "a model cannot be loaded, ten times",
        "not ready and counted; right answers within 40 s after the cause is gone",
    ),
    12: ("another client unregisters a region", "registered again within 1 s; no error"),
    13: ("kill -9 of all web processes", "leftover names block nothing; right answers within 10 s"),
    14: ("a second stack on the same ports or folder", "refuses to start; the first continues"),
    15: ("/dev/shm full, at the start and later", "a clear refusal at the start; later no effect"),
    16: ("a region is truncated", "right answers within Triton's load time + 5 s"),
    17: (
        "the disk of uploads and jobs is full",
        "503 storage_full; jobs intact; normal within 5 s after space is free",
    ),
    18: ("the folder of uploads cannot be written", "refuses to start, and says why"),
    19: ("the disk of the logs is full", "no effect"),
    20: ("web workers have no file descriptors left", "503; no busy loop; normal within 5 s after"),
    21: ("clients disconnect during an upload", "no worker is used; their files are removed within 1 s"),
    22: ("clients disconnect during an inference", "their slots are freed"),
    23: ("HUP to gunicorn and reload of nginx, three times", "no error"),
    24: ("kill -9 of a worker of nginx, and of its master", "right answers within 1 s, and within 5 s"),
    25: ("restart of web by Supervisor", "running requests finish; new ones get 503"),
    26: ("kill -9 of the job worker", "continues within 30 s; one result; given up after 3 deaths at one window"),
    27: ("200 kills at random moments", "every accepted job exists"),
    28: ("the jobs' queue is locked, then corrupt", "503, or accepted for good; no job restarts from its beginning"),
    29: ("kill -9 of supervisord", "no second stack beside the first"),
    30: ("kill -9 of everything", "ready after one start; jobs continue"),
    31: ("the clock jumps by an hour, both ways", "no effect"),
    32: ("a GPU without memory; the exporter of its memory dies", "503 for that request; Triton continues"),
    40: (
        "keys are required; web is stopped (SIGSTOP), killed, or has no free thread",
        "uploads without a key get 401 or 503 within 5 s, with a key an answer or 503; nothing is written to the disk",
    ),
    41: (
        "8 uploads that send 2 MiB at once, then a byte per second; the disk of uploads is nearly full",
        "their space is freed within 130 s with 408; 503 storage_full before the body",
    ),
    42: (
        "records of jobs are damaged: truncated, zeros, a FIFO, no folder; their index too",
        "lists, new jobs and metrics work; damaged records are set aside and counted; no other job is lost",
    ),
    43: (
        "decoders are killed while they decode (SIGKILL, like the OOM killer), once and repeatedly",
        "the file is retried: 200; after repeated kills 503 with Retry-After; never 422; jobs finish",
    ),
    44: (
        "kill -9 of nginx's worker during uploads, and of a web worker with all its processes",
        "leftovers are removed within 30 s; running uploads are not affected",
    ),
    45: (
        "24 clients submit jobs at once; 10,000 finished jobs exist",
        "no more jobs than the limit; a list and a new job within 50 ms",
    ),
    46: ("two stacks started together, one Triton killed", "each answers from its own Triton; the other continues"),
}

# The same for overload; C is the capacity of the same stack.
LOADS: dict[int, tuple[str, str]] = {
    101: ("0.7 C", "no error; p99 at most 3 times that of sequential requests"),
    102: ("2 C", f"goodput at least 0.9 C; {OVERLOADED}"),
    103: ("5 C", f"goodput at least 0.85 C; {OVERLOADED}"),
    104: ("10 C", f"goodput at least 0.8 C; {OVERLOADED}; no more memory afterwards"),
    105: ("a step from 0.5 C to 5 C and back", "normal again within 10 s"),
    106: ("200 slow uploads beside 0.5 C", "p99 at most 20 % and 10 ms longer; their files are removed within 1 s"),
    107: ("one key at 10 C, another at 0.3 C", "the other has no error; its p99 at most 3 times its value alone"),
}


@dataclass
class Row:
    """One row while it is measured; call `verify` at its end."""

    number: int
    measured: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check_within(self, what: str, seconds: float, limit_s: float) -> None:
        """Record that something took `seconds`, and fail the row above `limit_s`."""
        measured = f"{seconds * 1e3:.0f} ms" if 0 < limit_s < 0.5 else f"{seconds:.1f} s"
        self.check(f"{what} {measured}", seconds <= limit_s)

    def check(self, what: str, so: bool) -> None:
        """Record a measurement, and fail the row unless `so`."""
        self.measured.append(what)
        if not so:
            self.broken.append(what)

    def note(self, what: str) -> None:
        """Record a measurement without a promise."""
        self.measured.append(what)

    def verify(self) -> None:
        assert not self.broken, f"promised: {(PROMISES | LOADS)[self.number][1]}; measured: {'; '.join(self.broken)}"

    def write(self, verdict: str, why: str) -> None:
        """Save the row for the table; `why` says why it was skipped or ended by an unexpected error."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        record = asdict(self) | {"verdict": verdict, "why": why, "machine": environment.describe_machine()}
        (FOLDER / f"{self.number:02}.json").write_text(json.dumps(record, indent=1) + "\n")


def kept() -> dict[int, dict[str, Any]]:
    """Return the latest measurement of each row on this machine."""
    rows = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    return {row["number"]: row for row in rows}
