"""Check of the watchdog: it runs, and what it has seen."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import places

SILENT_S = 30.0  # it writes after every check, one to five seconds apart

WATCHDOG_SILENT = KnownIssue(
    "watchdog silent", "wrong", "models that died or hang are not restarted",
    "the watchdog has written nothing for {age:.0f} s",
    "restart watchdog with supervisorctl; `make logs` says what it was about",
)  # fmt: skip
MODEL_SILENT = KnownIssue(
    "model silent", "wrong", "503 for requests to the model",
    "the watchdog says that {model} does not answer",
    "it restarts Triton when it must; if it stays so, its log says why: {log}",
)  # fmt: skip
HEALED = KnownIssue(
    "healed by the watchdog", "warning", "503 for a few seconds, now and then",
    "since its own start the watchdog has {what}",
    "look into {log} for why",
)  # fmt: skip

DONE = {
    "clipstack_model_restarts_total": "restarted Triton {count} times ({why})",
    "clipstack_program_starts_total": "started {why} again {count} times",
    "clipstack_model_loads_total": "loaded {why} again {count} times",
}


def watchdog(patient: Context) -> Iterator[Finding]:
    """Report a silent watchdog, models that do not answer, and repairs since its start."""
    patient.pid("watchdog")
    numbers, log = places.watchdog_numbers(patient.run_dir), patient.run_dir / "logs" / "watchdog.log"
    if not numbers.exists():
        raise Skipped("it has just started, and has written nothing yet")
    age = time.time() - numbers.stat().st_mtime
    if age > SILENT_S:
        yield WATCHDOG_SILENT.found(age=age)
    for name, label, value in series(numbers):
        if name == "clipstack_model_answers" and value == 0:
            yield MODEL_SILENT.found(model=label, log=log)
        elif name in DONE and value:
            yield HEALED.found(what=DONE[name].format(count=value, why=label), log=log)
    yield fine("it looks every few seconds, and has had nothing to do")


def series(numbers: Path) -> list[tuple[str, str, int]]:
    """Return name, first label's value and number of each line in Prometheus' text format."""
    lines = re.findall(r'^(\w+)\{\w+="([^"]*)"[^}]*\} (\d+)$', numbers.read_text(), re.M)
    return [(name, label, int(value)) for name, label, value in lines]


CHECKS = (Check("watchdog", watchdog, (WATCHDOG_SILENT, MODEL_SILENT, HEALED)),)
