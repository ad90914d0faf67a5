"""Check of the watchdog: it runs, and what it has seen."""

import re
import time
from collections.abc import Iterator

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import paths

SILENT_S = 30.0  # it writes after every check, one to five seconds apart

WATCHDOG_SILENT = KnownIssue(
    name="watchdog silent",
    symptom="Models that died or hang are not restarted.",
    message="The watchdog has written nothing for {age:.0f} s.",
    fix="Restart watchdog with supervisorctl. `make logs` shows what it did last.",
)
MODEL_SILENT = KnownIssue(
    name="model silent",
    symptom="503 for requests to the model.",
    message="The watchdog reports that {model} does not answer.",
    fix="The watchdog restarts Triton if that can help. If the model stays silent, read {log}.",
)
REPAIRED = known_warning(
    name="repaired by the watchdog",
    symptom="503 for a few seconds, now and then.",
    message="Since its start the watchdog has {repair}.",
    fix="Read {log} for the reason.",
)

REPAIRS = {
    "clipstack_model_restarts_total": "restarted Triton {count} times ({label})",
    "clipstack_program_starts_total": "started {label} again {count} times",
    "clipstack_model_loads_total": "loaded {label} again {count} times",
}

CHECKS = Checks()


@CHECKS.add("watchdog", WATCHDOG_SILENT, MODEL_SILENT, REPAIRED)
def watchdog(context: Context) -> Iterator[Finding]:
    """Report a silent watchdog, models that do not answer, and repairs since its start."""
    context.pid("watchdog")
    path, log = context.run_dir / paths.WATCHDOG_METRICS, context.run_dir / "logs" / "watchdog.log"
    if not path.exists():
        raise Skipped("the watchdog has just started")
    age = time.time() - path.stat().st_mtime
    if age > SILENT_S:
        yield WATCHDOG_SILENT.finding(age=age)
    # Name, first label's value and number of each line in Prometheus' text format
    for name, label, value in re.findall(r'^(\w+)\{\w+="([^"]*)"[^}]*\} (\d+)$', path.read_text(), re.M):
        if name == "clipstack_model_answers" and value == "0":
            yield MODEL_SILENT.finding(model=label, log=log)
        elif name in REPAIRS and value != "0":
            yield REPAIRED.finding(repair=REPAIRS[name].format(count=value, label=label), log=log)
    yield ok("it runs, and has repaired nothing")
