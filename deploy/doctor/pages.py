"""Generator of the tables in docs/troubleshooting.md from the checks' own texts."""

import re

from deploy.doctor.check import KnownIssue
from deploy.doctor.registry import SECTIONS
from deploy.doctor.runner import RUNNER_ISSUES

HEAD = ["| symptom | the doctor says | fix |", "|---|---|---|"]


def tables() -> str:
    """Return a heading per section and a row per known issue; placeholders appear in capitals."""
    sections = {name: [issue for check in checks for issue in check.issues] for name, checks in SECTIONS.items()}
    return "\n\n".join(
        _section(name, issues) for name, issues in (sections | {"the doctor itself": list(RUNNER_ISSUES)}).items()
    )


def _section(name: str, issues: list[KnownIssue]) -> str:
    rows = [
        f"| {_cell(issue.symptom)} | {issue.verdict}: {_cell(issue.message)} | {_cell(issue.fix)} |" for issue in issues
    ]
    return "\n".join([f"## {name[0].upper()}{name[1:]}", "", *HEAD, *rows])


def _cell(text: str) -> str:
    """Return `text` for a Markdown table: {facts} in capitals, escaped braces as braces."""
    text = re.sub(r"(?<!\{)\{(\w+)[^{}]*\}(?!\})", lambda match: match[1].upper(), text)
    return text.replace("{{", "{").replace("}}", "}").replace("|", "\\|").replace("<", "&lt;")
