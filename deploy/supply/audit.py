"""Asks the advisory service about every package of the images; what it did not answer counts as not checked.

python -m deploy.supply.audit      `make audit`; status 0: checked and clean, 1: not so, 75: not checked

pip-audit says "no known vulnerabilities" of packages that the service knew nothing about: that is no answer here.
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
    """A known fault that we live with until `expires`."""

    id: str
    package: str
    reason: str
    expires: date


@dataclass
class Audit:
    """What was found: `faults` by package, and packages that nothing was said about, with the reason."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)
    checked: int = 0


def excuses(path: Path = EXCEPTIONS) -> list[Waiver]:
    return [Waiver(**each) for each in tomllib.loads(path.read_text()).get("exception", [])]


def expired(known: list[Waiver], today: date) -> list[Waiver]:
    return [each for each in known if each.expires < today]


def ask() -> Audit:
    """Runs pip-audit over all pins; a service that cannot be reached leaves everything unchecked."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="pins-") as file:
        # A package that two locks pin differently stands in one list only once: pip-audit refuses it twice
        by_name = dict(sorted(all_pins()))
        file.writelines(f"{name}=={version}\n" for name, version in by_name.items())
        file.flush()
        words = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip"]
        words += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            return Audit(unchecked=dict.fromkeys(by_name, f"no answer in {PATIENCE_S} s"))
    return read(done.stdout, done.stderr, list(by_name))


def read(said: str, complaint: str, names: list[str]) -> Audit:
    """What pip-audit's JSON says of packages `names`; without any, why."""
    try:
        told = {each["name"]: each for each in json.loads(said)["dependencies"]}
    except (ValueError, KeyError, TypeError):
        why = complaint.strip().splitlines()[-1][:200] if complaint.strip() else "pip-audit said nothing"
        return Audit(unchecked=dict.fromkeys(names, why))
    found = Audit()
    for name in names:
        entry = told.get(name, {"skip_reason": "pip-audit did not name it"})
        if "skip_reason" in entry:
            found.unchecked[name] = entry["skip_reason"]
            continue
        found.checked += 1
        if entry["vulns"]:
            found.faults[name] = [fault["id"] for fault in entry["vulns"]]
    return found


def verdict(found: Audit, known: list[Waiver], today: date) -> tuple[int, list[str]]:
    """Exit status and what to say."""
    lines = [f"the exception for {each.id} of {each.package} has expired" for each in expired(known, today)]
    excused = {(each.package, each.id) for each in known if each.expires >= today}
    for name, ids in found.faults.items():
        lines += [f"{name}: {each}" for each in ids if (name, each) not in excused]
    if lines:
        return 1, lines
    if found.unchecked:
        reasons = sorted(set(found.unchecked.values()))[:3]
        all_of_them = len(found.unchecked) + found.checked
        return NOT_CHECKED, [
            f"not checked: {len(found.unchecked)} of {all_of_them} packages, advisory service unreachable or silent",
            *reasons,
        ]
    return 0, [f"{found.checked} packages checked, none has a known fault that is not excused"]


def main() -> int:
    status, lines = verdict(ask(), excuses(), date.today())
    print("\n".join(lines))
    if status == NOT_CHECKED and os.environ.get("GITHUB_ACTIONS") == "true":
        return 1  # there is a network there: no answer is no pass
    return status


if __name__ == "__main__":
    sys.exit(main())
