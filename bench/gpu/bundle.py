"""Packs what bench/gpu/run.py needs on a bare machine: CUDA's driver, Python 3.12 and torch are all that is expected there.

.venv/bin/python -m bench.gpu.bundle TARGET.tar.xz              (`make gpu-bundle`; needs binutils)
.venv/bin/python -m bench.gpu.bundle --decoding TARGET.tar.xz   (`make gpu-decode-bundle`: bench/gpu/decode.py alone)
.venv/bin/python -m bench.gpu.bundle --first CALL TARGET.tar.xz  (`make gpu-first-bundles`: bench/gpu/first_run.py CALL)

A bundle of --first is small, so it leaves out what torch's own installation has (cuda-bindings), and decord. Its Triton
brings the libpython of the stub, if there is one here: --libpython FILE.

clipstack-gpu/  run  app/  bench/  deploy/  triton_repo/     the project itself, as far as it is measured
                .runtime/triton/                             Triton's server, its stub for that Python
                site/                                        packages of that Python, NumPy 1 among them
"""

import argparse
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from app.settings import CHECKOUT
from deploy.demo import film
from deploy.unpack_triton import unpack

PYTHON = "3.12"
MOST_BYTES = 60_000_000
FIRST_BYTES = 34_000_000  # the whole checkout beside it stays under 64 MiB
PROJECT = (
    "app/**/*.py", "bench/__init__.py", "bench/environment.py", "bench/gpu/**/*.py", "deploy/**/*.py",
    "triton_repo/backends/clip/**/*.py", "triton_repo/backends/clip/**/*.cu", "triton_repo/zoo/**/*.py",
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
    ".runtime/triton/bin/tritonserver", ".runtime/libpython/*",
)  # fmt: skip
# The x86 filter makes programs a tenth smaller
FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9}]
RUN = '#!/bin/sh\ncd "$(dirname "$0")" && exec "${PYTHON:-python3}" bench/gpu/%s "$@"\n'


class Content(NamedTuple):
    """Contents of a bundle besides the project.

    Attributes:
        packages: Names of packages.
        command: Program of bench/gpu that `run` starts, with its first arguments.
        has_triton: Whether Triton's server belongs to it.
        has_film: Whether a film belongs to it.
        is_small: Whether Triton's libraries may be left out in part.
        most_bytes: Limit of its size.
    """

    packages: tuple[str, ...]
    command: str
    has_triton: bool = False
    has_film: bool = False
    is_small: bool = False
    most_bytes: int = MOST_BYTES


FULL = Content(PACKAGES, "run.py", has_triton=True, has_film=True)
DECODE = Content(("numpy", "av", "decord2", "nvidia-ml-py"), "decode.py")
FIRST = {
    "layouts": Content((), "first_run.py layouts", most_bytes=FIRST_BYTES),
    "service": Content(
        ("numpy", "psutil", "tritonclient[grpc]", "nvidia-ml-py"), "first_run.py service", has_triton=True, is_small=True,
        most_bytes=FIRST_BYTES,
    ),
    "decoding": Content(("numpy", "av", "nvidia-ml-py"), "first_run.py decoding", most_bytes=FIRST_BYTES),
}  # fmt: skip


def make(target: Path, content: Content = FULL, libpython: Path | None = None) -> int:
    """Write a bundle and return its size in bytes; `libpython` is the library that Triton's stub needs."""
    with tempfile.TemporaryDirectory(prefix="clipstack-bundle-") as name:
        root = Path(name, "clipstack-gpu")
        copy_project(root)
        (root / "run").write_text(RUN % content.command)
        (root / "run").chmod(0o755)
        if content.has_film:
            film(root / "bench" / "gpu" / "film.mp4")
        if content.has_triton:
            _server(root, Path(name, "wheel"))
            if content.is_small:
                _empty_icu_tables(root / ".runtime" / "triton" / "lib")
        if libpython:
            folder = root / ".runtime" / "libpython"  # used where the machine has none (bench/gpu/server.py)
            folder.mkdir()
            shutil.copyfile(libpython, folder / f"libpython{PYTHON}.so.1.0")
        if content.packages:
            _packages(root / "site", Path(name, "wheels"), content.packages)
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


def _empty_icu_tables(libraries: Path) -> None:
    """Replace ICU's tables, 29 MB, by empty ones: only conversions of character sets need them, and none happens."""
    for library in libraries.glob("libicudata*"):
        major = library.name.rpartition(".so.")[2].partition(".")[0]
        source = f"const char icudt{major}_dat[64] __attribute__((aligned(16))) = {{0}};"
        command = ["cc", "-shared", f"-Wl,-soname,{library.name}", "-o", str(library), "-x", "c", "-"]
        subprocess.run(command, input=source, text=True, check=True)


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


def main() -> int | str | None:
    """Write the bundle that the arguments name; return an error message or None."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--decoding", action="store_true", help="of bench/gpu/decode.py")
    kind.add_argument("--first", choices=FIRST, help="of one call of bench/gpu/first_run.py")
    parser.add_argument("--libpython", type=Path, help=f"the file libpython{PYTHON}.so.1.0, for Triton's stub")
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    for program, package in {"readelf": "binutils", "strip": "binutils", "cc": "gcc"}.items():
        if not shutil.which(program):
            return f"{program} is missing: install {package}"
    content = FIRST[arguments.first] if arguments.first else DECODE if arguments.decoding else FULL
    size = make(arguments.target, content, arguments.libpython if content.has_triton else None)
    print(f"{arguments.target}: {size / 1e6:.1f} MB")
    return None if size < content.most_bytes else f"more than {content.most_bytes / 1e6:.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
