"""Metrics and log of the watchdog: changes go to the log, all counts to a file for Prometheus.

The file is in Prometheus' text format, as node_exporter's textfile collector expects:
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.files import write_file
from deploy.stack.restarts import GAUGE, MANY, describe
from deploy.watchdog.prober import Canary

HELP = {
    "clipstack_canaries_total": "Canaries by model and outcome.",
    "clipstack_model_restarts_total": "Restarts of Triton, by what was wrong: dead, hung, away.",
    "clipstack_program_starts_total": "Starts of programs that Supervisor had given up.",
    "clipstack_model_loads_total": "Attempts to load a model that Triton could not load.",
}
ANSWERS = "clipstack_model_answers"

log = logging.getLogger("deploy.watchdog")


class WatchdogMetrics:
    """Counters since the watchdog's start; `write` replaces the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counter[str] = Counter()
        self._errors: dict[str, str] = {}  # by model; empty text when it answers
        self._waiting = False
        self._restarts: Mapping[str, int] = {}  # recent restarts by program, at the last check

    def canaries(self, canaries: Mapping[str, Canary], unloaded: Mapping[str, str]) -> None:
        """Count the outcomes of canaries, and log models that stop or start answering."""
        for key, canary in canaries.items():
            self._count("clipstack_canaries_total", model=key, outcome=canary.outcome)
        errors = {key: "" if canary.outcome == "answered" else canary.reason for key, canary in canaries.items()}
        self._log_changes(errors | dict(unloaded))

    def unreachable(self, reason: str) -> None:
        """Record that no model answers because Triton is unavailable."""
        self._log_changes(dict.fromkeys(self._errors, f"Triton does not answer: {reason}"))

    def waiting(self, reason: str) -> None:
        """Log once that the backoff prevents a restart."""
        if not self._waiting:
            log.error("%s", reason)
        self._waiting = True

    def restarted(self, cause: str) -> None:
        """Count a restart of Triton."""
        self._count("clipstack_model_restarts_total", cause=cause)
        self._waiting = False

    def restarts(self, counts: Mapping[str, int]) -> None:
        """Store the number of recent restarts of each program; log programs that reach MANY."""
        for name, count in counts.items():
            if count >= MANY > self._restarts.get(name, 0):
                log.error("%s", describe(name, count))
        self._restarts = dict(counts)

    def started(self, program: str) -> None:
        """Count a start of a program that Supervisor had given up."""
        self._count("clipstack_program_starts_total", program=program)

    def loaded(self, model: str) -> None:
        """Count an attempt to load a model."""
        self._count("clipstack_model_loads_total", model=model)

    def write(self) -> None:
        """Replace the metrics file atomically; ignore errors, because a full disk must not stop the watchdog."""
        lines = []
        for name, text in HELP.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
            lines += [f"{series} {count}" for series, count in sorted(self._counts.items()) if series.startswith(name)]
        lines += [f"# HELP {ANSWERS} 1 when the last canary was answered.", f"# TYPE {ANSWERS} gauge"]
        lines += [f"{_series(ANSWERS, model=key)} {int(not reason)}" for key, reason in sorted(self._errors.items())]
        lines += [f"# HELP {GAUGE} Restarts of a program within 5 minutes.", f"# TYPE {GAUGE} gauge"]
        lines += [f"{_series(GAUGE, program=name)} {count}" for name, count in sorted(self._restarts.items())]
        with suppress(OSError):
            write_file(self._path, ("\n".join(lines) + "\n").encode())

    def _count(self, name: str, **labels: str) -> None:
        self._counts[_series(name, **labels)] += 1

    def _log_changes(self, errors: dict[str, str]) -> None:
        for key, reason in errors.items():
            if reason and not self._errors.get(key):
                log.error("%s does not answer: %s", key, reason)
            elif not reason and self._errors.get(key):
                log.info("%s answers again", key)
        self._errors = errors


def _series(name: str, **labels: str) -> str:
    pairs = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{pairs}}}"
