"""Packs what bench/gpu/run.py needs on a bare machine: CUDA's driver, Python 3.12 and torch are all that is expected there.

.venv/bin/python -m bench.gpu.bundle TARGET.tar.xz              (`make gpu-bundle`; needs binutils)
.venv/bin/python -m bench.gpu.bundle --decoding TARGET.tar.xz   (`make gpu-decode-bundle`: bench/gpu/decode.py alone)

clipstack-gpu/  run  app/  bench/  deploy/  triton_repo/     the project itself, as far as it is measured
                .runtime/triton/                             Triton's server, its stub for that Python
                site/                                        packages of that Python, NumPy 1 among them
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from app.settings import CHECKOUT
from deploy.demo import film
from deploy.unpack_triton import unpack

PYTHON = "3.12"
MOST_BYTES = 60_000_000
PROJECT = (
    "app/**/*.py", "bench/__init__.py", "bench/environment.py", "bench/gpu/*.py", "deploy/**/*.py",
    "triton_repo/backends/clip/**/*.py", "triton_repo/zoo/**/*.py",
)  # fmt: skip
# As in the extras `web`, `triton` and `cuda`; Triton's Python backend needs NumPy 1.
PACKAGES = ("numpy", "psutil", "tritonclient[grpc]", "decord2", "cuda-bindings", "nvidia-ml-py")
# Parts of packages that nothing here imports
UNNEEDED = (
    "numpy/**/tests", "numpy/f2py", "numpy/distutils", "cuda/bindings/nvrtc*", "cuda/bindings/nvvm*",
    "cuda/bindings/nvjitlink*", "cuda/bindings/nvfatbin*", "cuda/bindings/cufile*", "cuda/bindings/nvml*",
    "cuda/bindings/cudla*", "cuda/bindings/tests", "cuda/**/*.pyx", "cuda/**/*.pxd", "cuda/**/*.in", "bin",
)  # fmt: skip
# Files with debug symbols to strip; other libraries break when stripped
STRIPPED = (
    "site/ml_dtypes/*.so", "site/rapidjson*.so", ".runtime/triton/lib/libtritonserver*",
    ".runtime/triton/bin/tritonserver",
)  # fmt: skip
# The x86 filter makes programs a tenth smaller
FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9}]
# Packages of bench/gpu/decode.py; one bundle with Triton's server would exceed MOST_BYTES
DECODING = ("numpy", "av", "decord2", "nvidia-ml-py")
RUN = '#!/bin/sh\ncd "$(dirname "$0")" && exec "${PYTHON:-python3}" bench/gpu/%s "$@"\n'


def make(target: Path, decoding: bool = False) -> int:
    """Write the bundle, or the bundle for decoding only, and return its size in bytes."""
    with tempfile.TemporaryDirectory(prefix="clipstack-bundle-") as name:
        root = Path(name, "clipstack-gpu")
        copy_project(root)
        (root / "run").write_text(RUN % ("decode.py" if decoding else "run.py"))
        (root / "run").chmod(0o755)
        if not decoding:
            film(root / "bench" / "gpu" / "film.mp4")
            _server(root, Path(name, "wheel"))
        _packages(root / "site", Path(name, "wheels"), DECODING if decoding else PACKAGES)
        _strip(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        with lzma.open(target, "wb", filters=FILTERS) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(root, root.name, filter=_plain)
    return target.stat().st_size


def copy_project(root: Path) -> None:
    """Copy the project's files that the benchmark imports."""
    for pattern in PROJECT:
        for file in sorted(CHECKOUT.glob(pattern)):
            place = root / file.relative_to(CHECKOUT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def _server(root: Path, download: Path) -> None:
    """Unpack Triton's server from its wheel, without libraries that only other stubs need."""
    _pip("--require-hashes", "--no-deps", "--requirement", str(CHECKOUT / "deploy/triton-wheel.txt"), to=download)
    (wheel,) = download.iterdir()
    triton = root / ".runtime" / "triton"
    unpack(wheel, triton, PYTHON)
    clip = triton / "backends" / "clip"
    clip.unlink()
    clip.symlink_to(os.path.relpath(root / "triton_repo" / "backends" / "clip", clip.parent))
    needed, pending = set[str](), {triton / "bin" / "tritonserver", *(triton / "backends" / "python").iterdir()}
    while pending:
        names = set().union(*(_needed_by(path) for path in pending))
        pending = {triton / "lib" / name for name in names - needed if (triton / "lib" / name).exists()}
        needed |= names
    for library in (triton / "lib").iterdir():
        if library.name not in needed:
            library.unlink()


def _needed_by(path: Path) -> set[str]:
    """Return the names of the libraries that a program or library needs; empty for other files."""
    output = subprocess.run(["readelf", "-d", str(path)], capture_output=True, text=True).stdout
    return {line.split("[")[1].rstrip("]") for line in output.splitlines() if "(NEEDED)" in line}


def _packages(site: Path, download: Path, names: tuple[str, ...]) -> None:
    """Download and unpack the wheels, which need no installation."""
    versions = pins()
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 24, 17)] + ["manylinux2014_x86_64"]
    words = [word for platform in platforms for word in ("--platform", platform)]
    abis = [word for abi in ("cp312", "abi3", "none") for word in ("--abi", abi)]
    requirements = [f"{name}=={versions[name]}" for name in names]
    _pip("--python-version", PYTHON, "--implementation", "cp", *abis, *words, *requirements, to=download)
    for wheel in sorted(download.iterdir()):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    for pattern in UNNEEDED:
        for path in list(site.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _strip(root: Path) -> None:
    for pattern in STRIPPED:
        for path in root.glob(pattern):
            subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)


def pins() -> dict[str, str]:
    """Return the versions in pyproject.toml by package."""
    import tomllib

    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = [line for extra in ("web", "triton", "cuda") for line in extras[extra] if "==" in line]
    return dict(line.split("==") for line in lines)


def _pip(*words: str, to: Path) -> None:
    quiet = ("-qq", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:", "--dest", str(to))
    subprocess.run([sys.executable, "-m", "pip", "download", *quiet, *words], check=True)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in member.name:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main(words: list[str]) -> int | str | None:
    """Write the bundle that the arguments name; return an error message or None."""
    decoding = words[:1] == ["--decoding"]
    if len(words) != 1 + decoding:
        return __doc__
    for program in ("readelf", "strip"):
        if not shutil.which(program):
            return f"{program} is missing: install binutils"
    size = make(Path(words[-1]), decoding)
    print(f"{words[-1]}: {size / 1e6:.1f} MB")
    return None if size < MOST_BYTES else f"more than {MOST_BYTES / 1e6:.0f} MB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
