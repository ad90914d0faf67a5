"""Checks of Python packages: the tested versions, and none that break others."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped

REINSTALL = "Run `rm .runtime/stamps/pip-*`, then `make setup`, which installs the tested versions."

TORCHVISION_MISMATCH = KnownIssue(
    name="torch and torchvision mismatch",
    symptom='clipstack-models fails: "operator torchvision::nms does not exist".',
    message="torchvision {torchvision} is built for torch {required}, but torch {torch} is installed.",
    fix=REINSTALL,
)
NO_OPERATORS = KnownIssue(
    name="torchvision without its operators",
    symptom='clipstack-models fails: "operator torchvision::nms does not exist".',
    message="{file} does not declare {operators}. A torch without CUDA ({torch}) needs that.",
    fix="Restore the file from the repository: it declares the operators before torchvision is imported.",
)
UNUSED_CUDA = known_warning(
    name="CUDA packages without a GPU",
    symptom=".venv takes gigabytes.",
    message="torch {torch} installed {count} CUDA packages of {size} MiB, but this machine has no GPU driver.",
    fix="Run `.venv/bin/pip install --force-reinstall torch=={public}` with an index of CPU builds, then uninstall the "
    "nvidia-* packages.",
)
PYTRITON_INSTALLED = known_warning(
    name="nvidia-pytriton installed",
    symptom="Packages have the wrong versions. Triton's backend fails to import.",
    message="nvidia-pytriton is installed in .venv, so its requirements have changed the versions of NumPy and others. "
    "Only Triton's server is needed from its wheel.",
    fix="Run `.venv/bin/pip uninstall nvidia-pytriton` and `rm .runtime/stamps/pip-*`, then `make setup`.",
)
OTHER_VERSION = known_warning(
    name="untested package version",
    symptom="Errors that occur on this machine only.",
    message="{package} is {actual}, but the tested version is {tested}.",
    fix=REINSTALL,
)
OTHER_PYTHON = KnownIssue(
    name="wrong Python version",
    symptom="`make up` ends with an import error. No model loads.",
    message=".venv has Python {version}, but the service and Triton's stub need Python 3.11.",
    fix="Run `rm -r .venv` and `apt-get install python3.11-venv libpython3.11`, then `make setup`.",
)

OPERATORS = ("nms", "qnms")

CHECKS = Checks()


@CHECKS.add("Python", OTHER_PYTHON)
def python(context: Context) -> Iterator[Finding]:
    """Check that .venv has Python 3.11."""
    version = context.python_version
    if version != "3.11":
        yield OTHER_PYTHON.finding(version=version)
    yield ok(f"Python {version}")


@CHECKS.add("packages", OTHER_VERSION)
def pinned(context: Context) -> Iterator[Finding]:
    """Check that the installed packages have the versions of pyproject.toml."""
    file = context.checkout / "pyproject.toml"
    if not file.is_file():
        raise Skipped("an image has the versions of its lock file")
    project = tomllib.loads(file.read_text())["project"]
    extras = project["optional-dependencies"]
    installed = _installed(context)
    for requirement in sorted({*project["dependencies"], *extras["web"], *extras["triton"]}):
        name, _, tested = requirement.partition("==")
        distribution = installed.get(_normalised(name.partition("[")[0]))
        if distribution is None or _public(distribution.version) != tested:
            actual = distribution.version if distribution else "missing"
            yield OTHER_VERSION.finding(package=name, actual=actual, tested=tested)
    yield ok("web and Triton have the versions of pyproject.toml")


@CHECKS.add("torchvision", TORCHVISION_MISMATCH, NO_OPERATORS)
def torchvision(context: Context) -> Iterator[Finding]:
    """Check that torch and torchvision fit together."""
    installed = _installed(context)
    file = context.checkout / "triton_repo" / "zoo" / "architectures" / "torchvision_cpu.py"
    if context.in_image or "torch" not in installed or "torchvision" not in installed:
        raise Skipped("torch and torchvision are not installed; only clipstack-models needs them")
    torch, vision = installed["torch"].version, installed["torchvision"]
    matches = [re.search(r"^torch *\(?==([\d.]+)", line) for line in vision.requires or []]
    required = next((match[1] for match in matches if match), _public(torch))
    if required != _public(torch):
        yield TORCHVISION_MISMATCH.finding(torchvision=vision.version, required=required, torch=torch)
    text = file.read_text() if file.is_file() else ""
    missing = [name for name in OPERATORS if not re.search(rf'define\("{name}\(', text)]
    if missing and "+cu" not in torch:
        yield NO_OPERATORS.finding(file=file, operators=" and ".join(missing), torch=torch)
    yield ok(f"torchvision {vision.version} fits torch {torch}")


@CHECKS.add("CUDA packages", UNUSED_CUDA)
def cuda(context: Context) -> Iterator[Finding]:
    """Report CUDA packages on a machine without a GPU driver."""
    from deploy.doctor.checks.machine.gpu import DRIVER

    installed = _installed(context)
    packages = [package for name, package in installed.items() if re.match(r"nvidia-.*(cu\d\d|cuda)|nvidia-cu", name)]
    if packages and not DRIVER.exists():
        size = sum(file.size or 0 for package in packages for file in package.files or []) >> 20
        torch = installed["torch"].version if "torch" in installed else "(none)"
        yield UNUSED_CUDA.finding(torch=torch, count=len(packages), size=size, public=_public(torch))
    yield ok(f"{len(packages)} packages" if packages else "none")


@CHECKS.add("pytriton", PYTRITON_INSTALLED)
def pytriton(context: Context) -> Iterator[Finding]:
    """Report an installed nvidia-pytriton."""
    if "nvidia-pytriton" in _installed(context):
        yield PYTRITON_INSTALLED.finding()
    yield ok("not installed; only Triton's server is used from its wheel")


def _installed(context: Context) -> dict[str, Distribution]:
    """Return every distribution in .venv by its normalised name."""
    packages: dict[str, Distribution] = {}
    for distribution in distributions(path=[str(context.packages)]):
        packages.setdefault(_normalised(distribution.metadata["Name"]), distribution)
    return packages


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _public(version: str) -> str:
    """Return `version` without its build suffix: 2.13.0 for 2.13.0+cpu."""
    return version.partition("+")[0]
