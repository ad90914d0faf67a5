"""Versions with known holes, held against a table that says where it has them from."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.checks.advisories import ADVISORIES, AS_OF, Advisory
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
    found = _found(patient)
    for advisory in ADVISORIES:
        version = found.get(advisory.component, "")
        if version and concerns(advisory, version, patient.triton_local):
            facts = advisory._asdict() | {"version": version}
            yield FAULTS.get(advisory.component, PACKAGE_HOLE).found(**facts)
    if not found:
        raise Skipped("nothing of what the table speaks of is here")
    told = ", ".join(f"{component} {version}" for component, version in found.items())
    yield fine(f"no hole known on {AS_OF} that others can reach (Triton's need its port): {told}")


def concerns(advisory: Advisory, version: str, triton_local: bool = True) -> bool:
    """Whether that version has the hole, and others can reach it."""
    if advisory.component == "Triton" and triton_local:
        return False  # its socket is for its own user alone (deploy/stack/launch.py)
    if "deb12" in version:
        return bool(advisory.debian) and numbers(version) < numbers(advisory.debian)
    return bool(advisory.fixed) and numbers(version) < numbers(advisory.fixed)


def numbers(version: str) -> tuple[int, ...]:
    """Every number in it, in order: enough for versions of one kind."""
    return tuple(map(int, re.findall(r"\d+", version)))


def _found(patient: Context) -> dict[str, str]:
    found = {"nginx": _nginx()} if patient.has_web else {}
    for each in distributions(path=[str(patient.packages)]):
        name = str(each.metadata["Name"]).lower()
        if name in ("gunicorn", "werkzeug"):
            found[name] = each.version
    for package in ("av", "decord2"):
        libraries = list((patient.packages / f"{package}.libs").glob("libavformat*.so.*"))
        if told := [re.search(r"\.so\.(\d+\.\d+)", path.name) for path in libraries]:
            found[f"FFmpeg in {package}"] = told[0][1] if told[0] else ""
    found["Triton"] = _triton(patient)
    return {name: version for name, version in found.items() if version}


def _nginx() -> str:
    """Debian mends holes without a new version of nginx's own, so its package's version says more."""
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
    told = re.search(r"server (\d+\.\d+\.\d+)", wheel.read_text()) if wheel.is_file() else None
    return told[1] if told else ""


CHECKS = (Check("known holes", versions, (NGINX_HOLE, TRITON_HOLE, PACKAGE_HOLE)),)
