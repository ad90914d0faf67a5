"""Types of the doctor: a check examines one thing and yields findings; a known issue describes one finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from deploy.doctor.context import Context

Verdict = Literal["ok", "warning", "wrong", "not checked"]
LIMIT_S = 10.0  # default time limit of a check


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        verdict: How bad it is.
        words: What was found.
        mend: How to fix it.
        fault: Name of the known issue.
    """

    verdict: Verdict
    words: str
    mend: str = ""
    fault: str = ""


@dataclass(frozen=True)
class KnownIssue:
    """Something known to go wrong.

    Attributes:
        name: Short name, also used in docs/troubleshooting.md.
        verdict: How bad it is.
        symptom: What users notice.
        says: Message with placeholders for {facts}.
        mend: How to fix it, with placeholders too.
    """

    name: str
    verdict: Literal["warning", "wrong"]
    symptom: str
    says: str
    mend: str

    def found(self, **facts: object) -> Finding:
        """Return a finding with `facts` filled in."""
        return Finding(self.verdict, self.says.format(**facts), self.mend.format(**facts), self.name)


@dataclass(frozen=True)
class Check:
    """One check: `look` yields its findings or raises Skipped; `faults` are all issues that it may report."""

    name: str
    look: Callable[[Context], Iterator[Finding]]
    faults: tuple[KnownIssue, ...]
    limit_s: float = LIMIT_S


def fine(words: str) -> Finding:
    """Return the finding that nothing is wrong; it is shown only without other findings."""
    return Finding("ok", words)
