"""Audit of every package in the images against the advisory service.

Usage: python -m deploy.supply.audit (`make audit`)

Exit status: 0 clean, 1 vulnerabilities or expired waivers, 75 not checked.
pip-audit reports "no known vulnerabilities" even for packages unknown to the service; those count as not checked.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from deploy.supply.licences import all_pins

WAIVERS = Path(__file__).with_name("exceptions.toml")
NOT_CHECKED = 75  # sysexits' EX_TEMPFAIL
TIMEOUT_S = 120


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

    vulnerabilities: dict[str, list[str]] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)
    checked: int = 0


def read_waivers(path: Path = WAIVERS) -> list[Waiver]:
    """Return the waivers listed in `path`."""
    return [Waiver(**entry) for entry in tomllib.loads(path.read_text()).get("exception", [])]


def run_audit() -> Audit:
    """Run pip-audit over all pins; when the service is unreachable, every package is unchecked."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="pins-") as file:
        # One version per package: pip-audit rejects a list that pins a package twice.
        versions = dict(sorted(all_pins()))
        file.writelines(f"{name}=={version}\n" for name, version in versions.items())
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip"]
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
        try:
            completed = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return Audit(unchecked=dict.fromkeys(versions, f"no answer in {TIMEOUT_S} s"))
    return parse(completed.stdout, completed.stderr, list(versions))


def parse(stdout: str, stderr: str, packages: list[str]) -> Audit:
    """Return the result in pip-audit's JSON output.

    Without valid JSON all `packages` are unchecked, and the last line of `stderr` is the reason.
    """
    try:
        entries = {dependency["name"]: dependency for dependency in json.loads(stdout)["dependencies"]}
    except (ValueError, KeyError, TypeError):
        reason = stderr.strip().splitlines()[-1][:200] if stderr.strip() else "pip-audit printed nothing"
        return Audit(unchecked=dict.fromkeys(packages, reason))
    audit = Audit()
    for name in packages:
        entry = entries.get(name, {"skip_reason": "pip-audit did not report it"})
        if "skip_reason" in entry:
            audit.unchecked[name] = entry["skip_reason"]
            continue
        audit.checked += 1
        if entry["vulns"]:
            audit.vulnerabilities[name] = [vulnerability["id"] for vulnerability in entry["vulns"]]
    return audit


def verdict(audit: Audit, waivers: list[Waiver], today: date) -> tuple[int, list[str]]:
    """Return the exit status and the lines to print."""
    expired = [waiver for waiver in waivers if waiver.expires < today]
    waived = {(waiver.package, waiver.id) for waiver in waivers if waiver.expires >= today}
    lines = [f"the waiver of {waiver.id} in {waiver.package} has expired" for waiver in expired]
    for package, ids in audit.vulnerabilities.items():
        lines += [f"{package}: {id}" for id in ids if (package, id) not in waived]
    if lines:
        return 1, lines
    if audit.unchecked:
        total = len(audit.unchecked) + audit.checked
        summary = f"not checked: {len(audit.unchecked)} of {total} packages. Reasons:"
        return NOT_CHECKED, [summary, *sorted(set(audit.unchecked.values()))[:3]]
    return 0, [f"{audit.checked} packages checked: no known vulnerability without a waiver"]


def main() -> int:
    """Audit all packages, print the result and return the exit status."""
    status, lines = verdict(run_audit(), read_waivers(), date.today())
    print("\n".join(lines))
    if status == NOT_CHECKED and os.environ.get("GITHUB_ACTIONS") == "true":
        return 1  # CI has a network, so an unreachable service is a failure
    return status


if __name__ == "__main__":
    sys.exit(main())
