"""The words of the doctor: a check looks at one thing and yields findings; a fault is what it knows to go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from deploy.doctor.context import Context

Verdict = Literal["ok", "warning", "wrong", "not checked"]
LIMIT_S = 10.0  # of a check that says nothing else


@dataclass(frozen=True)
class Finding:
    """One line: what was found; `mend` says what to do about it, `fault` which of the known ones it is."""

    verdict: Verdict
    words: str
    mend: str = ""
    fault: str = ""


@dataclass(frozen=True)
class KnownIssue:
    """Something known to go wrong. `symptom` is what people notice; `says` and `mend` have places for {facts}."""

    name: str
    verdict: Literal["warning", "wrong"]
    symptom: str
    says: str
    mend: str

    def found(self, **facts: object) -> Finding:
        return Finding(self.verdict, self.says.format(**facts), self.mend.format(**facts), self.name)


@dataclass(frozen=True)
class Check:
    """`look` yields what it finds and raises Unchecked; `faults` are all that it may find."""

    name: str
    look: Callable[[Context], Iterator[Finding]]
    faults: tuple[KnownIssue, ...]
    limit_s: float = LIMIT_S


def fine(words: str) -> Finding:
    """Nothing is wrong; shown only when nothing else was found."""
    return Finding("ok", words)
