"""Runner of the checks: all at once, each with a time limit, so that one that hangs delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from deploy.doctor.check import Check, Finding, KnownIssue, Verdict
from deploy.doctor.context import Context, Skipped

WORST_LAST: tuple[Verdict, ...] = ("ok", "not checked", "warning", "wrong")

SLOW = KnownIssue(
    "check without an answer", "warning", "the doctor takes long",
    "no answer within {limit:g} s",
    "look again when there is less to do here; if it stays so, what it looks at hangs: a disk, a network, a driver",
)  # fmt: skip
BROKEN = KnownIssue(
    "check that failed", "warning", "the doctor says that it could not look",
    "could not look: {why}",
    "run it as the user that started the stack, or as root; if it stays so, this is a mistake of the doctor's own",
)  # fmt: skip
OF_ALL = (SLOW, BROKEN)


class CheckResult(NamedTuple):
    """Findings of one check; never empty."""

    check: Check
    findings: list[Finding]

    @property
    def verdict(self) -> Verdict:
        """Verdict of the worst finding."""
        return max((finding.verdict for finding in self.findings), key=WORST_LAST.index)


def examine(patient: Context, checks: Sequence[Check]) -> list[CheckResult]:
    """Run all `checks` and return their results in order, within the longest of their time limits."""
    findings: dict[str, list[Finding]] = {}

    def look(check: Check) -> None:
        findings[check.name] = _findings(check, patient)

    # Daemon threads, so that a check that hangs does not prevent the command from exiting.
    threads = [threading.Thread(target=look, args=(check,), daemon=True) for check in checks]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    results = []
    for check, thread in zip(checks, threads, strict=True):
        thread.join(max(0.0, began + check.limit_s - time.monotonic()))
        results.append(CheckResult(check, findings.get(check.name) or [SLOW.found(limit=check.limit_s)]))
    return results


def _findings(check: Check, patient: Context) -> list[Finding]:
    try:
        findings = list(check.look(patient))
    except Skipped as reason:
        return [Finding("not checked", str(reason))]
    except ModuleNotFoundError as error:
        if patient.in_image:
            return [Finding("not checked", f"{error.name} is not in this container")]
        return [BROKEN.found(why=error)]
    except Exception as error:  # a broken check must not hide the others' results
        return [BROKEN.found(why=f"{type(error).__name__}: {error}")]
    faults = [finding for finding in findings if finding.verdict != "ok"]
    return faults or findings[:1] or [Finding("ok", "")]
