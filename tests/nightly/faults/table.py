"""Write the tables of load and faults in docs/reliability.md from what was measured here.

python -m tests.nightly.faults.table       (`make faults` does)

A row that was not measured here stays as it is in the page, unless the promise has changed.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tests.nightly.faults.rows import LOADS, PROMISES, Promises, kept
from tests.support.stacks import CHECKOUT

PAGE = CHECKOUT / "docs" / "reliability.md"
END = "<!-- end -->"
# The mark before each table: the head of its second column, and its promises
TABLES: dict[str, tuple[str, Promises]] = {
    "<!-- load, written by `make faults`: begin -->": ("load", LOADS),
    "<!-- written by `make faults`: begin -->": ("fault", PROMISES),
}
# Described below the table; a row mentions only exceptions
USUAL = ("other errors: none", "wrong answers: 0", "the job before it: done", "no orphan", "no region left")
MEASURED = re.compile(r"^Measured on (.*)\. \d+ rows: ", re.MULTILINE)
VERDICTS = {"passed": "pass", "failed": "**fail**", "skipped": "not run"}


def lines(
    rows: dict[int, dict[str, Any]], promises: Promises = PROMISES, what: str = "fault", page: str = ""
) -> list[str]:
    """Return a table and the text above it as Markdown; `page` is the current content."""
    made = [
        _line(number, *promises[number], rows[number])
        if number in rows
        else _current_line(number, *promises[number], page)
        for number in promises
    ]
    verdicts = Counter(line.rsplit("|", 2)[1].strip(" *") for line in made)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    here = [_place(row["machine"]) for row in rows.values() if row["verdict"] != "skipped"]
    has_old_rows = any(line in page and not line.endswith("| not run |") for line in made)
    before = MEASURED.search(page) if has_old_rows else None
    result = dict.fromkeys([*(before[1].split("; ") if before else ()), *here])
    return [
        f"Measured on {'; '.join(result) or 'no machine yet'}. {len(promises)} rows: {summary}.",
        "",
        f"| | {what} | promised | measured | |",
        "|---|---|---|---|---|",
        *made,
    ]


def _current_line(number: int, happens: str, promised: str, page: str) -> str:
    begin = f"| {number} | {happens} | {promised} |"
    return next((line for line in page.splitlines() if line.startswith(begin)), _line(number, happens, promised, None))


def _place(machine: dict[str, Any]) -> str:
    return f"{machine['day']} on {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']:.0f} GiB"


def _line(number: int, happens: str, promised: str, row: dict[str, Any] | None) -> str:
    measured = _measured(row) if row else ""
    verdict = VERDICTS[row["verdict"]] if row else "not run"
    return f"| {number} | {happens} | {promised} | {measured} | {verdict} |"


def _measured(row: dict[str, Any]) -> str:
    measured = [f"**{item}**" if item in row["broken"] else item for item in row["measured"] if item not in USUAL]
    if row["why"] and not row["broken"]:
        measured.append(" ".join(row["why"].split())[:200])
    return "; ".join(measured).replace("|", "\\|")


def main() -> None:
    page = PAGE.read_text()
    for begin, (what, promises) in TABLES.items():
        # A table without a measurement on this machine stays unchanged
        if rows := {number: row for number, row in kept().items() if number in promises}:
            before, rest = page.split(begin)
            stands, after = rest.split(END, 1)
            page = "\n".join([before + begin, "", *lines(rows, promises, what, stands), "", END]) + after
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
