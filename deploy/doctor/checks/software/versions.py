"""Check of installed versions against the table of known vulnerabilities in advisories.toml."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import distributions
from pathlib import Path

import deploy.doctor
from deploy.doctor import probes
from deploy.doctor.check import Checks, Finding, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import paths

SYMPTOM = "A vulnerability scanner reports it."
MESSAGE = "{component} {version} has {ids}: {what} ({source}, {date})."
NGINX_VULNERABLE = known_warning(
    name="vulnerability in nginx",
    symptom=SYMPTOM,
    message=MESSAGE,
    fix="Run `apt-get update && apt-get install --only-upgrade nginx-light`, then restart nginx.",
)
TRITON_VULNERABLE = known_warning(
    name="vulnerability in Triton",
    symptom=SYMPTOM,
    message=MESSAGE,
    fix="Unset CLIPSTACK_TRITON_ADDRESS, so that Triton listens on a socket, or let only web reach Triton's network.",
)
PACKAGE_VULNERABLE = known_warning(
    name="vulnerability in a package",
    symptom=SYMPTOM,
    message=MESSAGE,
    fix="Raise its version in pyproject.toml, then run `make lock` and `make setup`.",
)
ISSUES = {"nginx": NGINX_VULNERABLE, "Triton": TRITON_VULNERABLE}


@dataclass(frozen=True)
class Advisory:
    """Vulnerability in versions of `component` below `fixed`; `debian` is Debian 12's first fixed package version."""

    component: str
    fixed: str
    ids: str
    what: str
    source: str
    date: date
    debian: str = ""


_TABLE = tomllib.loads(Path(deploy.doctor.__file__).with_name("advisories.toml").read_text())
ADVISORIES, AS_OF = [Advisory(**row) for row in _TABLE["advisory"]], _TABLE["as_of"]

CHECKS = Checks()


@CHECKS.add("vulnerabilities", NGINX_VULNERABLE, TRITON_VULNERABLE, PACKAGE_VULNERABLE)
def versions(context: Context) -> Iterator[Finding]:
    """Report components with a known vulnerability that others can reach."""
    installed = _installed(context)
    for advisory in ADVISORIES:
        version = installed.get(advisory.component, "")
        if version and concerns(advisory, version, context.triton_local):
            issue = ISSUES.get(advisory.component, PACKAGE_VULNERABLE)
            yield issue.finding(version=version, **vars(advisory))
    if not installed:
        raise Skipped("no component of the table of vulnerabilities is installed here")
    listing = ", ".join(f"{component} {version}" for component, version in installed.items())
    yield ok(f"none known on {AS_OF} that others can reach: {listing}")


def concerns(advisory: Advisory, version: str, triton_local: bool = True) -> bool:
    """Return whether `version` has the vulnerability and others can reach it."""
    if advisory.component == "Triton" and triton_local:
        return False  # only Triton's own user can reach its socket (deploy/stack/launch.py)
    if "deb12" in version:
        return bool(advisory.debian) and _numbers(version) < _numbers(advisory.debian)
    return bool(advisory.fixed) and _numbers(version) < _numbers(advisory.fixed)


def _numbers(version: str) -> tuple[int, ...]:
    """Return all numbers of `version` in order, which orders versions of the same scheme."""
    return tuple(map(int, re.findall(r"\d+", version)))


def _installed(context: Context) -> dict[str, str]:
    """Return the version of each component that is installed here."""
    installed = {"nginx": _nginx_version()} if context.has_web else {}
    for distribution in distributions(path=[str(context.packages)]):
        name = str(distribution.metadata["Name"]).lower()
        if name in ("gunicorn", "werkzeug"):
            installed[name] = distribution.version
    for package in ("av", "decord2"):
        libraries = (context.packages / f"{package}.libs").glob("libavformat*.so.*")
        matches = [match[1] for path in libraries if (match := re.search(r"\.so\.(\d+\.\d+)", path.name))]
        installed[f"FFmpeg in {package}"] = matches[0] if matches else ""
    installed["Triton"] = _triton_version(context)
    return {name: version for name, version in installed.items() if version}


def _nginx_version() -> str:
    """Return Debian's package version of nginx, which shows backported fixes; otherwise nginx's own version."""
    try:
        path = paths.program("nginx")
        if path == "/usr/sbin/nginx":
            package = probes.output(["dpkg-query", "-W", "-f=${Version}", "nginx-common"])
            if package.returncode == 0:
                return package.stdout
        return probes.output([path, "-v"]).stderr.strip().rpartition("/")[2]
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _triton_version(context: Context) -> str:
    if context.programs:
        try:
            return probes.triton_version(context.settings)
        except Skipped:
            return ""
    wheel = context.checkout / "deploy" / "triton-wheel.txt"
    match = re.search(r"server (\d+\.\d+\.\d+)", wheel.read_text()) if wheel.is_file() else None
    return match[1] if match else ""
