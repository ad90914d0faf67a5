"""Check of installed versions against the table of known vulnerabilities."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.advisories import ADVISORIES, AS_OF, Advisory
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import places

SAYS = "{component} {version} has {ids}: {what} ({source}, {date})"
NGINX_HOLE = KnownIssue(
    "hole in nginx", "warning", "a scanner complains, or worse",
    SAYS,
    "apt-get update && apt-get install --only-upgrade nginx-light, then restart nginx",
)  # fmt: skip
TRITON_HOLE = KnownIssue(
    "hole in Triton", "warning", "a scanner complains, or worse",
    SAYS,
    "leave CLIPSTACK_TRITON_ADDRESS unset, so that Triton listens on a socket; or let nobody but web reach its network",
)  # fmt: skip
PACKAGE_HOLE = KnownIssue(
    "hole in a package", "warning", "a scanner complains, or worse",
    SAYS,
    "raise its version in pyproject.toml, then `make lock` and `make setup`",
)  # fmt: skip
FAULTS = {"nginx": NGINX_HOLE, "Triton": TRITON_HOLE}


def versions(patient: Context) -> Iterator[Finding]:
    """Report components with a known vulnerability that others can reach."""
    installed = _found(patient)
    for advisory in ADVISORIES:
        version = installed.get(advisory.component, "")
        if version and concerns(advisory, version, patient.triton_local):
            facts = advisory._asdict() | {"version": version}
            yield FAULTS.get(advisory.component, PACKAGE_HOLE).found(**facts)
    if not installed:
        raise Skipped("nothing of what the table speaks of is here")
    listing = ", ".join(f"{component} {version}" for component, version in installed.items())
    yield fine(f"no hole known on {AS_OF} that others can reach (Triton's need its port): {listing}")


def concerns(advisory: Advisory, version: str, triton_local: bool = True) -> bool:
    """Return whether `version` has the vulnerability and others can reach it."""
    if advisory.component == "Triton" and triton_local:
        return False  # only Triton's own user can reach its socket (deploy/stack/launch.py)
    if "deb12" in version:
        return bool(advisory.debian) and numbers(version) < numbers(advisory.debian)
    return bool(advisory.fixed) and numbers(version) < numbers(advisory.fixed)


def numbers(version: str) -> tuple[int, ...]:
    """Return all numbers of `version` in order, which orders versions of the same scheme."""
    return tuple(map(int, re.findall(r"\d+", version)))


def _found(patient: Context) -> dict[str, str]:
    installed = {"nginx": _nginx()} if patient.has_web else {}
    for distribution in distributions(path=[str(patient.packages)]):
        name = str(distribution.metadata["Name"]).lower()
        if name in ("gunicorn", "werkzeug"):
            installed[name] = distribution.version
    for package in ("av", "decord2"):
        libraries = list((patient.packages / f"{package}.libs").glob("libavformat*.so.*"))
        if matches := [re.search(r"\.so\.(\d+\.\d+)", path.name) for path in libraries]:
            installed[f"FFmpeg in {package}"] = matches[0][1] if matches[0] else ""
    installed["Triton"] = _triton(patient)
    return {name: version for name, version in installed.items() if version}


def _nginx() -> str:
    """Return Debian's package version of nginx, which shows backported fixes; otherwise nginx's own version."""
    try:
        path = places.program("nginx")
        debian = (
            probes.output(["dpkg-query", "-W", "-f=${Version}", "nginx-common"]) if path == "/usr/sbin/nginx" else None
        )
        if debian and not debian.returncode:
            return debian.stdout
        return probes.output([path, "-v"]).stderr.strip().rpartition("/")[2]
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _triton(patient: Context) -> str:
    if patient.programs:
        try:
            return probes.triton_version(patient.settings)
        except Skipped:
            return ""
    wheel = Path(patient.checkout, "deploy", "triton-wheel.txt")
    match = re.search(r"server (\d+\.\d+\.\d+)", wheel.read_text()) if wheel.is_file() else None
    return match[1] if match else ""


CHECKS = (Check("known holes", versions, (NGINX_HOLE, TRITON_HOLE, PACKAGE_HOLE)),)
