"""Audit of every package in the images against the advisory service.

Usage: python -m deploy.supply.audit (`make audit`)

Exit status: 0 clean, 1 vulnerabilities or expired exceptions, 75 not checked.
pip-audit reports "no known vulnerabilities" even for packages unknown to the service; those count as not checked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from deploy.supply.locks import all_pins

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")
NOT_CHECKED = 75  # sysexits' EX_TEMPFAIL
PATIENCE_S = 120


@dataclass(frozen=True)
class Waiver:
    """A known vulnerability that is accepted until `expires`."""

    id: str
    package: str
    reason: str
    expires: date


@dataclass
class Audit:
    """Result of an audit: vulnerability ids by package, and unchecked packages with the reason."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)
    checked: int = 0


def excuses(path: Path = EXCEPTIONS) -> list[Waiver]:
    """Return the exceptions listed in `path`."""
    return [Waiver(**entry) for entry in tomllib.loads(path.read_text()).get("exception", [])]


def expired(known: list[Waiver], today: date) -> list[Waiver]:
    """Return the exceptions that expired before `today`."""
    return [waiver for waiver in known if waiver.expires < today]


def ask() -> Audit:
    """Run pip-audit over all pins; when the service is unreachable, every package is unchecked."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="pins-") as file:
        # One version per package: pip-audit rejects a list that pins a package twice.
        by_name = dict(sorted(all_pins()))
        file.writelines(f"{name}=={version}\n" for name, version in by_name.items())
        file.flush()
        words = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip"]
        words += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
        try:
            completed = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            return Audit(unchecked=dict.fromkeys(by_name, f"no answer in {PATIENCE_S} s"))
    return read(completed.stdout, completed.stderr, list(by_name))


def read(said: str, complaint: str, names: list[str]) -> Audit:
    """Return the result in pip-audit's JSON output `said`.

    Without valid JSON all packages of `names` are unchecked, and the last line of `complaint` is the reason.
    """
    try:
        entries = {dependency["name"]: dependency for dependency in json.loads(said)["dependencies"]}
    except (ValueError, KeyError, TypeError):
        why = complaint.strip().splitlines()[-1][:200] if complaint.strip() else "pip-audit said nothing"
        return Audit(unchecked=dict.fromkeys(names, why))
    audit = Audit()
    for name in names:
        entry = entries.get(name, {"skip_reason": "pip-audit did not name it"})
        if "skip_reason" in entry:
            audit.unchecked[name] = entry["skip_reason"]
            continue
        audit.checked += 1
        if entry["vulns"]:
            audit.faults[name] = [fault["id"] for fault in entry["vulns"]]
    return audit


def verdict(found: Audit, known: list[Waiver], today: date) -> tuple[int, list[str]]:
    """Return the exit status and the lines to print."""
    lines = [f"the exception for {each.id} of {each.package} has expired" for each in expired(known, today)]
    accepted = {(each.package, each.id) for each in known if each.expires >= today}
    for name, ids in found.faults.items():
        lines += [f"{name}: {each}" for each in ids if (name, each) not in accepted]
    if lines:
        return 1, lines
    if found.unchecked:
        reasons = sorted(set(found.unchecked.values()))[:3]
        total = len(found.unchecked) + found.checked
        return NOT_CHECKED, [
            f"not checked: {len(found.unchecked)} of {total} packages, advisory service unreachable or silent",
            *reasons,
        ]
    return 0, [f"{found.checked} packages checked, none has a known fault that is not excused"]


def main() -> int:
    """Audit all packages, print the result and return the exit status."""
    status, lines = verdict(ask(), excuses(), date.today())
    print("\n".join(lines))
    if status == NOT_CHECKED and os.environ.get("GITHUB_ACTIONS") == "true":
        return 1  # CI has a network, so an unreachable service is a failure
    return status


if __name__ == "__main__":
    sys.exit(main())
