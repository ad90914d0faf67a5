"""Load by ApacheBench, which nobody here has written: so many clients, each sends again when it was answered."""

from __future__ import annotations

import csv
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deploy.stack.places import program

PATIENCE_S = 120  # of one request
MOST_S = 400  # of one turn
FRESH = {"Cache-Control": "no-cache"}  # what was answered once would be known: each is to be looked at


class Load(NamedTuple):
    """What is sent: a POST of the bytes in `body` to `url`."""

    url: str
    body: Path
    content_type: str
    headers: Mapping[str, str] = FRESH


class LoadResult(NamedTuple):
    """One side's turn: answers 200 a second, milliseconds of a request, how many were no 200.

    The milliseconds are None when so few were sent that each client had less than two: all begin at once, and those
    first waits are shorter than later ones.
    """

    per_s: float
    p50_ms: float | None
    p99_ms: float | None
    answered: int
    failed: int


class GeneratorError(Exception):
    """ApacheBench could not do it; the message holds what it said."""


def run(load: Load, clients: int, requests: int) -> LoadResult:
    """`requests` by `clients`, all of them answered: none is left for a server to work on when another has its turn.

    Raises GeneratorError when nobody listens, or ApacheBench is not there.
    """
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "percentiles.csv")
        words = ["-q", "-l", "-r", "-s", str(PATIENCE_S), "-n", str(requests), "-c", str(clients)]
        words += [word for name, value in load.headers.items() for word in ("-H", f"{name}: {value}")]
        words += ["-p", str(load.body), "-T", load.content_type, "-e", str(table), load.url]
        try:
            done = subprocess.run([program("ab"), *words], capture_output=True, text=True, timeout=MOST_S)
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise GeneratorError(f"ab: {error} (deploy/setup bench installs it)") from error
        if done.returncode:
            raise GeneratorError(f"ab: {done.stderr.strip()[-500:] or done.stdout[-500:]}")
        return read(done.stdout, table.read_text() if table.exists() else "", clients)


def read(report: str, percentiles: str, clients: int) -> LoadResult:
    """A turn from what ApacheBench prints, and from the table of its -e."""
    words = ("Complete requests:", "Failed requests:", "Non-2xx responses:")
    complete, failed, refused = (_number(report, word) for word in words)
    spent_s = _number(report, "Time taken for tests:")
    times = {row[0]: float(row[1]) for row in csv.reader(percentiles.splitlines()) if row and row[0].isdecimal()}
    good = int(complete - failed - refused)
    fair = complete >= 2 * clients
    # Of few requests its table shows a place behind the last one, whatever is in that memory: (int) (0.5 + n * share)
    median, most = ("50" if complete > 1 else "100"), ("99" if complete > 50 else "100")
    return LoadResult(
        per_s=round(good / spent_s, 3) if spent_s else 0.0,
        p50_ms=times.get(median) if fair else None,
        p99_ms=times.get(most) if fair else None,
        answered=good,
        failed=int(failed + refused),
    )


def _number(report: str, words: str) -> float:
    found = re.search(rf"^{re.escape(words)}\s+([\d.]+)", report, re.MULTILINE)
    return float(found[1]) if found else 0.0


__all__ = ["FRESH", "GeneratorError", "Load", "LoadResult", "read", "run"]
