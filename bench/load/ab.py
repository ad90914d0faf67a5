"""Load by ApacheBench, an independent tool: closed loops of concurrent clients."""

import csv
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deploy.stack.paths import program

PATIENCE_S = 120  # timeout of one request
MOST_S = 400  # timeout of one turn
FRESH = {"Cache-Control": "no-cache"}  # bypass the result cache


class Load(NamedTuple):
    """The request to send: a POST of the bytes in `body` to `url`."""

    url: str
    body: Path
    content_type: str
    headers: Mapping[str, str] = FRESH


class LoadResult(NamedTuple):
    """Result of one turn: answers with 200 per second, milliseconds of a request, and failed requests.

    The milliseconds are None if clients sent fewer than two requests each: all clients start at once, and their first
    waits are shorter than later ones.
    """

    per_s: float
    p50_ms: float | None
    p99_ms: float | None
    answered: int
    failed: int


class GeneratorError(Exception):
    """ApacheBench failed; the message holds its output."""


def run(load: Load, clients: int, requests: int) -> LoadResult:
    """Send `requests` by `clients` and wait for all answers, so that no work is left for another side's turn.

    Raises:
        GeneratorError: Nothing listens, or ApacheBench is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "percentiles.csv")
        try:
            words = command(load, clients, requests, "-e", str(table))
            done = subprocess.run(words, capture_output=True, text=True, timeout=MOST_S)
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise GeneratorError(f"ab: {error} (deploy/setup bench installs it)") from error
        if done.returncode:
            raise GeneratorError(f"ab: {done.stderr.strip()[-500:] or done.stdout[-500:]}")
        return parse_report(done.stdout, table.read_text() if table.exists() else "", clients)


def command(load: Load, clients: int, requests: int, *options: str) -> list[str]:
    """Return the command that sends `requests` by `clients`; raise FileNotFoundError if ApacheBench is missing."""
    words = ["-q", "-l", "-r", "-s", str(PATIENCE_S), "-n", str(requests), "-c", str(clients), *options]
    words += [word for name, value in load.headers.items() for word in ("-H", f"{name}: {value}")]
    return [program("ab"), *words, "-p", str(load.body), "-T", load.content_type, load.url]


def parse_report(report: str, percentiles: str, clients: int) -> LoadResult:
    """Return the result from ApacheBench's report and the table of its option -e."""
    words = ("Complete requests:", "Failed requests:", "Non-2xx responses:")
    complete, failed, refused = (_number(report, word) for word in words)
    spent_s = _number(report, "Time taken for tests:")
    times = {row[0]: float(row[1]) for row in csv.reader(percentiles.splitlines()) if row and row[0].isdecimal()}
    good = int(complete - failed - refused)
    has_latencies = complete >= 2 * clients
    # With few requests the table reads past its last row: the index is (int) (0.5 + n * share)
    p50_row, p99_row = ("50" if complete > 1 else "100"), ("99" if complete > 50 else "100")
    return LoadResult(
        per_s=round(good / spent_s, 3) if spent_s else 0.0,
        p50_ms=times.get(p50_row) if has_latencies else None,
        p99_ms=times.get(p99_row) if has_latencies else None,
        answered=good,
        failed=int(failed + refused),
    )


def _number(report: str, words: str) -> float:
    match = re.search(rf"^{re.escape(words)}\s+([\d.]+)", report, re.MULTILINE)
    return float(match[1]) if match else 0.0
