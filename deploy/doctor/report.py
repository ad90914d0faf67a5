"""Output of the doctor: a table with fixes for people, JSON for scripts."""

import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.doctor.check import Verdict
from deploy.doctor.runner import CheckResult

SIGNS: dict[Verdict, tuple[str, str]] = {
    "wrong": ("✗", "bold red"),
    "warning": ("!", "bold yellow"),
    "ok": ("✓", "green"),
    "not checked": ("·", "dim"),
}
COUNTED: dict[Verdict, tuple[str, str]] = {  # after "1" and after other numbers
    "wrong": ("problem", "problems"),
    "warning": ("warning", "warnings"),
    "ok": ("ok", "ok"),
    "not checked": ("not checked", "not checked"),
}


def table(results: Sequence[CheckResult], seconds: float, all_lines: bool = True) -> RenderableType:
    """Return the table and a summary line; without `all_lines` only warnings and problems are in the table."""
    rows = Table.grid(padding=(0, 2))
    for _ in ("sign", "name"):
        rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for result in results:
        if result.verdict in ("warning", "wrong") or (all_lines and result.verdict == "ok"):
            _add(rows, result)
    if all_lines:
        _add_unchecked(rows, results)
    counts = summary(results, seconds)
    return Group(rows, "", counts) if rows.row_count else counts


def _add(rows: Table, result: CheckResult) -> None:
    for number, finding in enumerate(result.findings):
        sign, style = SIGNS[finding.verdict]
        if not finding.fix:  # one line is enough for what needs no action
            message = Text(finding.message, style="dim", no_wrap=True, overflow="ellipsis")
            rows.add_row(Text(sign, style=style), result.check.name, message)
            continue
        name = Text(result.check.name if number == 0 else "", style="bold")
        rows.add_row(Text(sign, style=style), name, Text(finding.message))
        rows.add_row("", "", Text.assemble(("Fix: ", "cyan"), finding.fix))


def _add_unchecked(rows: Table, results: Sequence[CheckResult]) -> None:
    """Add one line per reason for the skipped checks."""
    names_by_reason: dict[str, list[str]] = {}
    for result in results:
        if result.verdict == "not checked":
            names_by_reason.setdefault(result.findings[0].message, []).append(result.check.name)
    for reason, names in names_by_reason.items():
        sign, style = SIGNS["not checked"]
        rows.add_row(Text(sign, style=style), Text("not checked", style=style), f"{reason}: {', '.join(names)}")


def summary(results: Sequence[CheckResult], seconds: float) -> Text:
    """Return the number of checks per verdict, the worst first."""
    counts = Counter(result.verdict for result in results)
    parts = [
        Text(f"{counts[verdict]} {COUNTED[verdict][counts[verdict] > 1]}", style=style)
        for verdict, (_, style) in SIGNS.items()
        if counts[verdict]
    ]
    return Text(", ").join(parts).append(f"  ({seconds:.1f} s)", style="dim")


def as_json(results: Sequence[CheckResult], seconds: float) -> str:
    """Return the counts and each check's findings as JSON; "fault" is the name of the known issue."""
    checks = [
        {
            "check": result.check.name,
            "verdict": result.verdict,
            "findings": [
                {"verdict": finding.verdict, "says": finding.message, "mend": finding.fix, "fault": finding.issue}
                for finding in result.findings
            ],
        }
        for result in results
    ]
    counts = Counter(result.verdict for result in results)
    by_verdict = {verdict: counts[verdict] for verdict in SIGNS}
    return json.dumps({"counts": by_verdict, "seconds": round(seconds, 2), "checks": checks}, indent=2)


def exit_code(results: Sequence[CheckResult], strict: bool) -> int:
    """Return 2 for problems, 1 for warnings with `strict`, otherwise 0."""
    verdicts = {result.verdict for result in results}
    if "wrong" in verdicts:
        return 2
    return 1 if strict and "warning" in verdicts else 0
