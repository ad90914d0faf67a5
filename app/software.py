"""Digest of the software that computes results; a cached result of other software is not used."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Libraries that decode, scale and compute
_LIBRARIES = ("av", "decord2", "numpy", "pi-heif", "pillow")


@cache
def software_digest() -> str:
    """Return the SHA-256, in hex, of all modules of the app and of the versions of the decoding libraries.

    All modules, so that none can be forgotten: computing some results again costs less than a stale one.
    """
    return digest_of(Path(__file__).parent)


def digest_of(folder: Path) -> str:
    """Return the digest of the modules in `folder` and of the libraries."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        sha.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    for name in _LIBRARIES:
        try:
            sha.update(f"{name} {version(name)}\0".encode())
        except PackageNotFoundError:
            sha.update(f"{name} is not installed\0".encode())
    return sha.hexdigest()
