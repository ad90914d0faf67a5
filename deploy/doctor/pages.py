"""Generator of the tables in docs/troubleshooting.md from the checks' own texts."""

from __future__ import annotations

import re

from deploy.doctor.check import KnownIssue
from deploy.doctor.examination import OF_ALL
from deploy.doctor.registry import FIELDS

HEAD = ["| what you notice | what the doctor says | how to mend it |", "|---|---|---|"]


def table() -> str:
    """Return a heading per field and a row per known issue; placeholders appear in capitals."""
    fields = {name: [fault for check in checks for fault in check.faults] for name, checks in FIELDS.items()}
    parts = [_part(name, faults) for name, faults in (fields | {"the doctor itself": list(OF_ALL)}).items()]
    return "\n\n".join(parts)


def _part(name: str, faults: list[KnownIssue]) -> str:
    rows = [
        f"| {_cell(issue.symptom)} | {issue.verdict}: {_cell(issue.says)} | {_cell(issue.mend)} |" for issue in faults
    ]
    return "\n".join([f"## {name[0].upper()}{name[1:]}", "", *HEAD, *rows])


def _cell(text: str) -> str:
    """Return `text` for a Markdown table: {facts} in capitals, escaped braces as braces."""
    text = re.sub(r"(?<!\{)\{(\w+)[^{}]*\}(?!\})", lambda found: found[1].upper(), text)
    return text.replace("{{", "{").replace("}}", "}").replace("|", "\\|").replace("<", "&lt;")
