"""Runner of the checks: all at once, each with a time limit, so that one that hangs delays no other."""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from deploy.doctor.check import Check, Finding, Verdict, known_warning, ok
from deploy.doctor.context import Context, Skipped

BY_SEVERITY: tuple[Verdict, ...] = ("ok", "not checked", "warning", "wrong")

TIMED_OUT = known_warning(
    name="check timed out",
    symptom="The doctor takes long.",
    message="The check did not finish within {timeout:g} s.",
    fix="Run it again when the machine is less busy. If it times out again, the disk, network or driver that it "
    "checks hangs.",
)
FAILED = known_warning(
    name="check failed",
    symptom="The doctor could not run a check.",
    message="The check could not run: {reason}",
    fix="Run it as the user that started the stack, or as root. If it fails again, this is a bug of the doctor.",
)
RUNNER_ISSUES = (TIMED_OUT, FAILED)


class CheckResult(NamedTuple):
    """Findings of one check; never empty."""

    check: Check
    findings: list[Finding]

    @property
    def verdict(self) -> Verdict:
        """Verdict of the worst finding."""
        return max((finding.verdict for finding in self.findings), key=BY_SEVERITY.index)


def run_checks(context: Context, checks: Sequence[Check]) -> list[CheckResult]:
    """Run all `checks` and return their results in order, within the longest of their time limits."""
    findings: dict[str, list[Finding]] = {}

    def run(check: Check) -> None:
        findings[check.name] = _run(check, context)

    # Daemon threads, so that a check that hangs does not prevent the command from exiting.
    threads = [threading.Thread(target=run, args=(check,), daemon=True) for check in checks]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    results = []
    for check, thread in zip(checks, threads, strict=True):
        thread.join(max(0.0, started + check.timeout_s - time.monotonic()))
        results.append(CheckResult(check, findings.get(check.name) or [TIMED_OUT.finding(timeout=check.timeout_s)]))
    return results


def _run(check: Check, context: Context) -> list[Finding]:
    try:
        findings = list(check.run(context))
    except Skipped as reason:
        return [Finding("not checked", str(reason))]
    except ModuleNotFoundError as error:
        if context.in_image:
            return [Finding("not checked", f"{error.name} is not in this container")]
        return [FAILED.finding(reason=error)]
    except Exception as error:  # a broken check must not hide the others' results
        return [FAILED.finding(reason=f"{type(error).__name__}: {error}")]
    problems = [finding for finding in findings if finding.verdict != "ok"]
    return problems or findings[:1] or [ok("")]
