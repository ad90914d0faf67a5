"""What is held open for a process that can open nothing itself: folders and files it reads, regions it writes into."""

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
    """Keep `regions` open for writing, and `folders` open as places to begin from, for when neither can be opened."""
    for path in regions:
        _regions[path] = open(path, "r+b", buffering=0)  # noqa: SIM115 - for as long as this process lives
    for path in folders:
        if os.path.isdir(path):
            _folders[path] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def hold_file(name: str, content: bytes) -> None:
    """Keep a file of this process's own, in memory, to be reached as `name`; not possible any more when confined."""
    _files[name] = os.memfd_create(name)
    with os.fdopen(_files[name], "wb", closefd=False) as file:
        file.write(content)


def hold_region(name: str, count: int) -> None:
    """Keep a region of `count` bytes that is nobody else's; not possible any more when confined."""
    _regions[name] = os.fdopen(os.memfd_create(name), "r+b", buffering=0)
    _regions[name].truncate(count)


def region(path: str) -> BinaryIO | Path:
    """What a region is mapped from: the file that is held open, in a process that is not confined its path."""
    return _regions.get(path) or Path(path)


def region_bytes(path: str) -> int:
    """How large a region is."""
    held = _regions.get(path)
    return os.stat(held.fileno() if held else path).st_size


def reached(source: Source) -> Source:
    """`source` by a path that this process can follow: past parents of its folder that it may not enter."""
    if source.path in _files:
        return replace(source, path=f"/proc/self/fd/{_files[source.path]}")
    for folder, descriptor in _folders.items():
        if source.path.startswith(f"{folder}/"):
            return replace(source, path=f"/proc/self/fd/{descriptor}/{source.path.removeprefix(f'{folder}/')}")
    return source
