"""Open handles for a confined process, which can open nothing itself: files and folders to read, regions to write."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from app.media.types import Source

_regions: dict[str, BinaryIO] = {}
_folders: dict[str, int] = {}
_files: dict[str, int] = {}


def hold(regions: Iterable[str], folders: Iterable[str]) -> None:
    """Open `regions` for writing, and `folders` as starting points of paths, before confinement prevents it."""
    for path in regions:
        _regions[path] = Path(path).open("r+b", buffering=0)  # noqa: SIM115 - for as long as this process lives
    for path in folders:
        if Path(path).is_dir():
            _folders[path] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def add_memory_file(name: str, content: bytes) -> None:
    """Keep a file in memory that is opened as `name`; impossible once confined."""
    _files[name] = os.memfd_create(name)
    with os.fdopen(_files[name], "wb", closefd=False) as file:
        file.write(content)


def create_memory_region(name: str, count: int) -> None:
    """Create a private region of `count` bytes in memory; impossible once confined."""
    _regions[name] = os.fdopen(os.memfd_create(name), "r+b", buffering=0)
    _regions[name].truncate(count)


def region(path: str) -> BinaryIO | Path:
    """Return the object to map a region from: the open file, or its path in an unconfined process."""
    return _regions.get(path) or Path(path)


def region_bytes(path: str) -> int:
    """Return the size of a region in bytes."""
    file = _regions.get(path)
    return (os.fstat(file.fileno()) if file else Path(path).stat()).st_size


def reachable(source: Source) -> Source:
    """Return `source` with a path that this process can open, although it may not enter the parents of the folder."""
    if source.path in _files:
        return replace(source, path=f"/proc/self/fd/{_files[source.path]}")
    for folder, descriptor in _folders.items():
        if source.path.startswith(f"{folder}/"):
            return replace(source, path=f"/proc/self/fd/{descriptor}/{source.path.removeprefix(f'{folder}/')}")
    return source
