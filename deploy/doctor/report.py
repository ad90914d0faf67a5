"""Output of the doctor: a table with remedies for people, JSON for scripts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.doctor.check import Verdict
from deploy.doctor.examination import CheckResult

SIGNS: dict[Verdict, tuple[str, str]] = {
    "wrong": ("✗", "bold red"),
    "warning": ("!", "bold yellow"),
    "ok": ("✓", "green"),
    "not checked": ("·", "dim"),
}
PLURALS: dict[Verdict, str] = {"ok": "ok", "warning": "warnings", "wrong": "wrong", "not checked": "not checked"}


def of_people(reports: Sequence[CheckResult], seconds: float, all_lines: bool = True) -> RenderableType:
    """Return the table and a summary line; without `all_lines` only warnings and errors are in the table."""
    rows = Table.grid(padding=(0, 2))
    for _ in ("sign", "name"):
        rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for report in reports:
        if report.verdict in ("warning", "wrong") or (all_lines and report.verdict == "ok"):
            _add(rows, report)
    if all_lines:
        _add_unchecked(rows, reports)
    count = summary(reports, seconds)
    return Group(rows, "", count) if rows.row_count else count


def _add(rows: Table, report: CheckResult) -> None:
    for number, finding in enumerate(report.findings):
        sign, style = SIGNS[finding.verdict]
        if not finding.mend:  # one line is enough for what needs no action
            words = Text(finding.words, style="dim", no_wrap=True, overflow="ellipsis")
            rows.add_row(Text(sign, style=style), report.check.name, words)
            continue
        name = Text(report.check.name if number == 0 else "", style="bold")
        rows.add_row(Text(sign, style=style), name, Text(finding.words))
        rows.add_row("", "", Text.assemble(("how to mend: ", "cyan"), finding.mend))


def _add_unchecked(rows: Table, reports: Sequence[CheckResult]) -> None:
    """Add one line per reason for the skipped checks."""
    reasons: dict[str, list[str]] = {}
    for report in reports:
        if report.verdict == "not checked":
            reasons.setdefault(report.findings[0].words, []).append(report.check.name)
    for reason, names in reasons.items():
        sign, style = SIGNS["not checked"]
        rows.add_row(Text(sign, style=style), Text("not checked", style=style), f"{reason}: {', '.join(names)}")


def summary(reports: Sequence[CheckResult], seconds: float) -> Text:
    """Return the number of checks per verdict, the worst first."""
    counts = Counter(report.verdict for report in reports)
    words = []
    for verdict in SIGNS:
        if number := counts[verdict]:
            word = "warning" if verdict == "warning" and number == 1 else PLURALS[verdict]
            words.append((f"{number} {word}", SIGNS[verdict][1]))
    text = Text("")
    for number, part in enumerate(words):
        text.append(", " if number else "").append(*part)
    return text.append(f"  ({seconds:.1f} s)", style="dim")


def of_scripts(reports: Sequence[CheckResult], seconds: float) -> str:
    """Return the counts and each check's findings as JSON; "fault" is the name used in docs/troubleshooting.md."""
    checks = [
        {
            "check": report.check.name,
            "verdict": report.verdict,
            "findings": [
                {"verdict": finding.verdict, "says": finding.words, "mend": finding.mend, "fault": finding.fault}
                for finding in report.findings
            ],
        }
        for report in reports
    ]
    counts = Counter(report.verdict for report in reports)
    by_verdict = {verdict: counts[verdict] for verdict in SIGNS}
    return json.dumps({"counts": by_verdict, "seconds": round(seconds, 2), "checks": checks}, indent=2)


def exit_code(reports: Sequence[CheckResult], strict: bool) -> int:
    """Return 2 for errors, 1 for warnings with `strict`, otherwise 0."""
    verdicts = {report.verdict for report in reports}
    if "wrong" in verdicts:
        return 2
    return 1 if strict and "warning" in verdicts else 0
