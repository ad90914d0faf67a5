"""Files that a command line names: single files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

# Suffixes that a folder is searched for; a file named directly is sent whatever its suffix.
VIDEOS = "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv"
PICTURES = "avif bmp heic heif jpeg jpg png tif tiff webp"
SUFFIXES = frozenset(f".{suffix}" for suffix in f"{VIDEOS} {PICTURES}".split())
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class File:
    """A file with its size in bytes and modification time when it was found; None for standard input."""

    path: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def key(self) -> tuple[str, int | None, int | None]:
        """Return the path, size and time, which identify an unchanged file."""
        return os.path.abspath(self.path), self.size, self.mtime_ns

    @property
    def shown(self) -> str:
        """Return the name to print."""
        return "standard input" if self.path == STANDARD_INPUT else self.path


def expand(words: Sequence[str]) -> list[File]:
    """Return the files that the arguments name; raise click.UsageError for an argument that names none.

    A file named twice is sent twice. Folders and patterns add only files that are not in the list yet.
    """
    paths: list[str] = []
    for word in words:
        if word == STANDARD_INPUT or os.path.isfile(word):
            paths.append(word)
        elif os.path.isdir(word):
            paths += [path for path in in_folder(word) if path not in paths]
        elif glob.has_magic(word):
            matches = filter(os.path.isfile, sorted(glob.glob(word, recursive=True)))
            paths += [path for path in matches if path not in paths]
        else:
            raise click.UsageError(f"there is no file, folder or pattern {word!r}")
    if not paths:
        raise click.UsageError(f"no video and no picture in {', '.join(map(repr, words))}")
    return [look(path) for path in paths]


def in_folder(folder: str) -> Iterator[str]:
    """Yield videos and pictures anywhere below a folder, sorted by name; hidden ones are skipped."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                yield os.path.join(parent, name)


def look(path: str) -> File:
    """Return the file with its present size and time; without them if it cannot be read, which fails later."""
    try:
        status = os.stat(path)
    except OSError:
        return File(path)
    return File(path) if path == STANDARD_INPUT else File(path, status.st_size, status.st_mtime_ns)
