"""Which files are meant: each by itself, those of a folder, or those that a pattern fits."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

# What a folder is searched for; a file that is named is sent whatever it is called.
VIDEOS = "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv"
PICTURES = "avif bmp heic heif jpeg jpg png tif tiff webp"
SUFFIXES = frozenset(f".{suffix}" for suffix in f"{VIDEOS} {PICTURES}".split())
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class File:
    """A file as it was when it was found: its length in bytes and when it was changed; None for standard input."""

    path: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def key(self) -> tuple[str, int | None, int | None]:
        """What makes it the same file as one that was seen before."""
        return os.path.abspath(self.path), self.size, self.mtime_ns

    @property
    def shown(self) -> str:
        """Its name as people are told it."""
        return "standard input" if self.path == STANDARD_INPUT else self.path


def found(words: Sequence[str]) -> list[File]:
    """The files that the words of a command line mean; click's UsageError for a word that means none.

    What is named twice is sent twice; what a folder or a pattern adds is not there yet.
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
    """Videos and pictures anywhere below a folder, by their names; hidden ones are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                yield os.path.join(parent, name)


def look(path: str) -> File:
    """The file as it is now; without size and time when it cannot be looked at, which will be told in its turn."""
    try:
        status = os.stat(path)
    except OSError:
        return File(path)
    return File(path) if path == STANDARD_INPUT else File(path, status.st_size, status.st_mtime_ns)
