"""The table of docs/troubleshooting.md, made of the checks' own words."""

from __future__ import annotations

import re

from deploy.doctor.check import KnownIssue
from deploy.doctor.examination import OF_ALL
from deploy.doctor.registry import FIELDS

HEAD = ["| what you notice | what the doctor says | how to mend it |", "|---|---|---|"]


def table() -> str:
    """For each field a heading and a row for every fault; what changes is in capitals."""
    fields = {name: [fault for check in checks for fault in check.faults] for name, checks in FIELDS.items()}
    parts = [_part(name, faults) for name, faults in (fields | {"the doctor itself": list(OF_ALL)}).items()]
    return "\n\n".join(parts)


def _part(name: str, faults: list[KnownIssue]) -> str:
    rows = [f"| {_cell(each.symptom)} | {each.verdict}: {_cell(each.says)} | {_cell(each.mend)} |" for each in faults]
    return "\n".join([f"## {name[0].upper()}{name[1:]}", "", *HEAD, *rows])


def _cell(text: str) -> str:
    """As Markdown in a table: {facts} in capitals, braces that are meant stay."""
    text = re.sub(r"(?<!\{)\{(\w+)[^{}]*\}(?!\})", lambda found: found[1].upper(), text)
    return text.replace("{{", "{").replace("}}", "}").replace("|", "\\|").replace("<", "&lt;")
