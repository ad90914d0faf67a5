"""Timelines as files that the service makes: where each one goes, and what is left on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from client.async_client import AsyncClient
from client.cli.files import File
from client.cli.outputs import save, to_standard_output

FORMATS = ("vtt", "csv", "svg", "png", "json")
# Suffixes of -o that say by themselves that a file for each video is meant, and none of all answers.
TELLING = {f".{format}": format for format in ("vtt", "svg", "png", "json")}


@dataclass(frozen=True)
class Exports:
    """A file of one `format` for each video; `targets` by the path of the video, None for standard output."""

    format: str
    targets: dict[str, Path | None]

    @classmethod
    def told(cls, format: str, path: Path | None, files: Sequence[File]) -> Exports:
        """By the options of a command; click's UsageError where the files could not be told apart."""
        if path is None:
            if len(files) > 1:
                raise click.UsageError(f"the {format} of many videos needs a folder to go to: -o FOLDER")
            if format == "png" and sys.stdout.isatty():
                raise click.UsageError("a picture is nothing for a terminal: -o FILE.png")
            return cls(format, {file.path: None for file in files})
        if len(files) == 1 and not path.is_dir():
            return cls(format, {files[0].path: path})
        if path.exists() and not path.is_dir():
            raise click.UsageError(f"{path} is one file, and there are {len(files)} videos: -o FOLDER")
        targets: dict[str, Path | None] = {file.path: path / f"{Path(file.path).stem}.{format}" for file in files}
        if len(set(targets.values())) < len(targets):
            targets = {file.path: path / f"{Path(file.path).name}.{format}" for file in files}
        if len(set(targets.values())) < len({file.path for file in files}):
            raise click.UsageError("two of the videos have the same name: their files would be one")
        return cls(format, targets)

    async def fetch(self, client: AsyncClient, file: File, job: str) -> None:
        """Get the file of one job, and put it where it belongs."""
        content, target = await client.export(job, self.format), self.targets[file.path]
        if target is None:
            to_standard_output(content)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            save(target, content)


def format_of_name(path: Path | None) -> str | None:
    """The format that the name of -o stands for, None where it names a file of answers or nothing."""
    return None if path is None else TELLING.get(path.suffix.lower())
