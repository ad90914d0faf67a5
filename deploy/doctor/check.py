"""Types of the doctor: a check examines one thing and yields findings; a known issue describes one finding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from deploy.doctor.context import Context

Verdict = Literal["ok", "warning", "wrong", "not checked"]
TIMEOUT_S = 10.0  # default time limit of a check


@dataclass(frozen=True)
class Finding:
    """One result of a check: the state that it saw, what to do about it, and the name of the known issue."""

    verdict: Verdict
    message: str
    fix: str = ""
    issue: str = ""


@dataclass(frozen=True)
class KnownIssue:
    """Something known to go wrong; `message` and `fix` have placeholders for {facts}.

    `name` is a short name for scripts, `symptom` the effect that users notice.
    """

    name: str
    symptom: str
    message: str
    fix: str
    verdict: Literal["warning", "wrong"] = "wrong"

    def finding(self, **facts: object) -> Finding:
        """Return a finding with `facts` filled in."""
        return Finding(self.verdict, self.message.format(**facts), self.fix.format(**facts), self.name)


known_warning = partial(KnownIssue, verdict="warning")


Run = Callable[[Context], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """One check: `run` yields its findings or raises Skipped; `issues` are all issues that it may report."""

    name: str
    run: Run
    issues: tuple[KnownIssue, ...]
    timeout_s: float = TIMEOUT_S


class Checks(list[Check]):
    """Checks of one subject in display order."""

    def add(self, name: str, *issues: KnownIssue, timeout_s: float = TIMEOUT_S) -> Callable[[Run], Run]:
        """Return a decorator that adds a check, which may report `issues`."""

        def decorate(run: Run) -> Run:
            self.append(Check(name, run, issues, timeout_s))
            return run

        return decorate


def ok(message: str) -> Finding:
    """Return the finding that nothing is wrong; it is shown only without other findings."""
    return Finding("ok", message)
