"""Unpacker of Triton's server from the nvidia-pytriton wheel.

Usage: python -m deploy.unpack_triton WHEEL TARGET

The wheel is used as an archive only; its own Python code is not installed.
"""

import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

SERVER, LIBRARIES = "pytriton/tritonserver/", "nvidia_pytriton.libs/"
STUB = "triton_python_backend_stub"
CLIP_BACKEND = Path(__file__).resolve().parent.parent / "triton_repo" / "backends" / "clip"


def target_path(name: str, python: str) -> Path | None:
    """Return the path below the target for the wheel's member `name`, or None to skip the member.

    The Python backend looks for its stub next to its library. The stub must match the running Python, for example
    "3.11".
    """
    if name == f"{SERVER}python_backend_stubs/{python}/{STUB}":
        return Path("backends", "python", STUB)
    if name.startswith(LIBRARIES):
        return Path("lib", PurePosixPath(name).name)
    if name.startswith((f"{SERVER}bin/", f"{SERVER}backends/")):
        return Path(name.removeprefix(SERVER))
    return None


def unpack(wheel: Path, target: Path, python: str) -> None:
    """Replace `target` with a folder that holds bin/, lib/ and backends/; it is built aside and renamed.

    Raise ValueError if the wheel has no stub for `python`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary, zipfile.ZipFile(wheel) as archive:
        folder = Path(temporary, "triton")
        for member in archive.infolist():
            relative = None if member.is_dir() else target_path(member.filename, python)
            if relative:
                _write(archive, member, folder / relative)
        if not (folder / "backends" / "python" / STUB).exists():
            raise ValueError(f"{wheel.name} has no stub for Python {python}")
        (folder / "backends" / "clip").symlink_to(os.path.relpath(CLIP_BACKEND, target.resolve() / "backends"))
        folder.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, path.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    # The file modes in a wheel are unreliable.
    path.chmod(0o755 if path.parent.name == "bin" or path.name == STUB else 0o644)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]), f"{sys.version_info.major}.{sys.version_info.minor}")
