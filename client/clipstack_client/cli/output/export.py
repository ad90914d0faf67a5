"""Exports of timelines as files: their paths, and standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from ...async_client import AsyncClient
from ..inputs import File
from .formats import save, to_standard_output

FORMATS = ("vtt", "svg", "png", "json")  # one file for each video, not one file of all answers


@dataclass(frozen=True)
class Exports:
    """One file in `format` for each video; `targets` has its path by the video's path, None for standard output."""

    format: str
    targets: dict[str, Path | None]

    @classmethod
    def plan(cls, format: str, path: Path | None, files: Sequence[File], *, force: bool) -> Exports:
        """Build the exports of a command; raise click.UsageError if files collide, or one exists without `force`."""
        exports = cls._plan(format, path, files)
        existing = [target for target in exports.targets.values() if target is not None and target.exists()]
        if existing and not force:
            raise click.UsageError(f"{existing[0]} exists: overwrite it with --force, or use another name")
        return exports

    @classmethod
    def _plan(cls, format: str, path: Path | None, files: Sequence[File]) -> Exports:
        if path is None:
            if len(files) > 1:
                raise click.UsageError(f"the {format} files of many videos need a folder: -o FOLDER")
            if format == "png" and sys.stdout.isatty():
                raise click.UsageError("a picture cannot be shown in a terminal: use -o FILE.png")
            return cls(format, {file.path: None for file in files})
        if len(files) == 1 and not path.is_dir():
            return cls(format, {files[0].path: path})
        if path.exists() and not path.is_dir():
            raise click.UsageError(f"{path} is one file, and there are {len(files)} videos: -o FOLDER")
        targets: dict[str, Path | None] = {file.path: path / f"{Path(file.name).stem}.{format}" for file in files}
        if len(set(targets.values())) < len(targets):
            targets = {file.path: path / f"{file.name}.{format}" for file in files}
        if len(set(targets.values())) < len({file.path for file in files}):
            raise click.UsageError("two of the videos have the same name, so their files would collide")
        return cls(format, targets)

    async def fetch(self, client: AsyncClient, file: File, job: str) -> None:
        """Fetch the export of one job and write it to its target."""
        content, target = await client.export(job, self.format), self.targets[file.path]
        if target is None:
            to_standard_output(content)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            save(target, content)
