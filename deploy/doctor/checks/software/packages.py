"""Checks of Python packages: the tested versions, and none that break others."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped

TORCHVISION_MISFIT = KnownIssue(
    "torch and torchvision do not fit", "wrong", "clipstack-models: \"operator torchvision::nms does not exist\"",
    "torchvision {torchvision} is made for torch {wanted}, and torch {torch} is installed",
    "rm .runtime/stamps/pip-* and `make setup`, which takes both in versions that fit",
)  # fmt: skip
NO_OPERATORS = KnownIssue(
    "torchvision without its operators", "wrong",
    "clipstack-models: \"operator torchvision::nms does not exist\"",
    "{file} does not declare {operators}, and torch {torch} has no CUDA, without which torchvision does not",
    "take the file from the repository again: it declares them before torchvision is imported",
)  # fmt: skip
CUDA_FOR_NOTHING = KnownIssue(
    "CUDA packages without a GPU", "warning", ".venv takes gigabytes",
    "torch {torch} brought {count} CUDA packages of {size} MiB, and there is no GPU driver here",
    ".venv/bin/pip install --force-reinstall torch=={pinned} from an index with CPU builds, then uninstall nvidia-*",
)  # fmt: skip
PYTRITON_INSTALLED = KnownIssue(
    "nvidia-pytriton installed", "warning", "packages of other versions than wanted; Triton's backend fails to import",
    "nvidia-pytriton is installed in .venv; only Triton's server is taken out of its wheel, and its own requirements "
    "change NumPy's and others' versions",
    ".venv/bin/pip uninstall nvidia-pytriton, then rm .runtime/stamps/pip-* and `make setup`",
)  # fmt: skip
OTHER_VERSION = KnownIssue(
    "package of another version", "warning", "anything that only happens here",
    "{package} is {found}, and the project was tried with {wanted}",
    "rm .runtime/stamps/pip-* and `make setup`",
)  # fmt: skip
OTHER_PYTHON = KnownIssue(
    "another Python", "wrong", "`make up` ends with an import error; no model loads",
    ".venv has Python {found}, and the service needs 3.11: Triton's stub and .venv must have the same",
    "rm -r .venv, apt-get install python3.11-venv libpython3.11, then `make setup`",
)  # fmt: skip

OPERATORS = ("nms", "qnms")


def python(patient: Context) -> Iterator[Finding]:
    """Check that .venv has Python 3.11."""
    match = re.search(r"^version\S* *= *(3\.\d+)", (patient.checkout / ".venv" / "pyvenv.cfg").read_text(), re.M)
    version = match[1] if match else "of an unknown version"
    if version != "3.11":
        yield OTHER_PYTHON.found(found=version)
    yield fine(f"Python {version}")


def pinned(patient: Context) -> Iterator[Finding]:
    """Check that the installed packages have the versions of pyproject.toml."""
    project = patient.checkout / "pyproject.toml"
    if not project.is_file():
        raise Skipped("an image has what its lock file says")
    project_table = tomllib.loads(project.read_text())["project"]
    lists = [
        project_table["dependencies"],
        *(project_table["optional-dependencies"][extra] for extra in ("web", "triton")),
    ]
    installed = _installed(patient)
    for line in sorted({line for requirements in lists for line in requirements}):
        name, _, pinned_version = line.partition("==")
        distribution = installed.get(_plain(name.partition("[")[0]))
        if distribution is None or _public(distribution.version) != pinned_version:
            version = distribution.version if distribution else "missing"
            yield OTHER_VERSION.found(package=name, found=version, wanted=pinned_version)
    yield fine("what web and Triton import has the versions of pyproject.toml")


def torchvision(patient: Context) -> Iterator[Finding]:
    """Check that torch and torchvision fit together."""
    installed = _installed(patient)
    file = patient.checkout / "triton_repo" / "zoo" / "architectures" / "torchvision_cpu.py"
    if patient.in_image or "torch" not in installed or "torchvision" not in installed:
        raise Skipped("only clipstack-models needs torch and torchvision, which are not here")
    torch, vision = installed["torch"].version, installed["torchvision"]
    matches = [re.search(r"^torch *\(?==([\d.]+)", line) for line in vision.requires or []]
    required_torch = next((match[1] for match in matches if match), _public(torch))
    if required_torch != _public(torch):
        yield TORCHVISION_MISFIT.found(torchvision=vision.version, wanted=required_torch, torch=torch)
    text = file.read_text() if file.is_file() else ""
    missing = [name for name in OPERATORS if not re.search(rf'define\("{name}\(', text)]
    if missing and "+cu" not in torch:
        yield NO_OPERATORS.found(file=file, operators=" and ".join(missing), torch=torch)
    yield fine(f"torch {torch} and torchvision {vision.version} fit")


def cuda(patient: Context) -> Iterator[Finding]:
    """Report CUDA packages on a machine without a GPU driver."""
    from deploy.doctor.checks.machine.gpu import DRIVER

    installed = _installed(patient)
    cuda_packages = {
        name: package for name, package in installed.items() if re.match(r"nvidia-.*(cu\d\d|cuda)|nvidia-cu", name)
    }
    if cuda_packages and not DRIVER.exists():
        size = sum(_bytes(package) for package in cuda_packages.values()) >> 20
        torch = installed["torch"].version if "torch" in installed else "(none)"
        yield CUDA_FOR_NOTHING.found(torch=torch, count=len(cuda_packages), size=size, pinned=_public(torch))
    yield fine(f"{len(cuda_packages)} packages of CUDA" if cuda_packages else "no package of CUDA, and no GPU")


def pytriton(patient: Context) -> Iterator[Finding]:
    """Report an installed nvidia-pytriton."""
    if "nvidia-pytriton" in _installed(patient):
        yield PYTRITON_INSTALLED.found()
    yield fine("only the server was taken out of its wheel")


def _installed(patient: Context) -> dict[str, Distribution]:
    """Return every distribution in .venv by its normalised name."""
    packages: dict[str, Distribution] = {}
    for distribution in distributions(path=[str(patient.packages)]):
        packages.setdefault(_plain(distribution.metadata["Name"]), distribution)
    return packages


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _public(version: str) -> str:
    """Return `version` without its build suffix: 2.13.0 for 2.13.0+cpu."""
    return version.partition("+")[0]


def _bytes(distribution: Distribution) -> int:
    return sum(file.size or 0 for file in distribution.files or [])


CHECKS = (
    Check("Python", python, (OTHER_PYTHON,)),
    Check("packages", pinned, (OTHER_VERSION,)),
    Check("torchvision", torchvision, (TORCHVISION_MISFIT, NO_OPERATORS)),
    Check("CUDA packages", cuda, (CUDA_FOR_NOTHING,)),
    Check("pytriton", pytriton, (PYTRITON_INSTALLED,)),
)
