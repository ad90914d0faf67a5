"""Files that a command line names: single files, folders, patterns and https:// addresses."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from ..sending.media_files import walk_folder
from ..sending.remote import is_url, url_name

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class File:
    """A file with its size in bytes and modification time; both are None for standard input."""

    path: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def key(self) -> tuple[str, int | None, int | None]:
        """Return the path, size and time, which identify an unchanged file."""
        return os.path.abspath(self.path), self.size, self.mtime_ns  # noqa: PTH100 - keeps symbolic links

    @property
    def name(self) -> str:
        """Return the file's name without its folder."""
        return url_name(self.path) or "file" if is_url(self.path) else Path(self.path).name

    @property
    def shown(self) -> str:
        """Return the name to print."""
        return "standard input" if self.path == STANDARD_INPUT else self.path


def expand(arguments: Sequence[str]) -> list[File]:
    """Return the files that the arguments name; raise click.UsageError for an argument that names none.

    A file named twice is sent twice. Folders and patterns add only files that are not in the list yet.
    """
    paths: list[str] = []
    for argument in arguments:
        if argument == STANDARD_INPUT or is_url(argument) or Path(argument).is_file():
            paths.append(argument)
        elif Path(argument).is_dir():
            paths += [path for path in walk_folder(argument) if path not in paths]
        elif glob.has_magic(argument):
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - takes absolute patterns
            paths += [path for path in matches if Path(path).is_file() and path not in paths]
        else:
            other = "http:// is not downloaded, only https://: " if argument.startswith("http://") else ""
            raise click.UsageError(f"{other}there is no file, folder or pattern {argument!r}")
    if not paths:
        raise click.UsageError(f"no video and no picture in {', '.join(map(repr, arguments))}")
    return [describe(path) for path in paths]


def describe(path: str) -> File:
    """Return the file with its present size and time; without them if it cannot be read, which fails later."""
    if is_url(path):
        return File(path)
    try:
        status = Path(path).stat()
    except OSError:
        return File(path)
    return File(path) if path == STANDARD_INPUT else File(path, status.st_size, status.st_mtime_ns)
