"""Outputs of answers: tables, JSON lines or CSV, on standard output or into a file."""

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, TextIO

import click
from rich.console import Console

from ...jobs import Job
from ...models import Result
from ..runner import Outcome
from .records import json_line, rows
from .rows import Names, Rows
from .tables import result_block
from .timeline_bar import timeline_block

UNBROKEN = 1000


class Output(Protocol):
    """Receiver of outcomes."""

    def show(self, outcome: Outcome) -> None:
        """Write one outcome."""
        ...


class Blocks:
    """One block for each file on the console; errors are printed elsewhere."""

    def __init__(self, console: Console, apart: bool) -> None:
        self._console, self._apart = console, apart

    def show(self, outcome: Outcome) -> None:
        """Print the answer of one outcome."""
        if isinstance(outcome.answer, Job):
            self._console.print(timeline_block(outcome.file.shown, outcome.answer), *[""] * self._apart)
        elif isinstance(outcome.answer, Result):
            self._console.print(result_block(outcome.file.shown, outcome.answer), *[""] * self._apart)


class JsonLines:
    """One JSON line for each file, written at once."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def show(self, outcome: Outcome) -> None:
        """Write the line of one outcome."""
        self._file.write(json.dumps(json_line(outcome)) + "\n")
        self._file.flush()


class Csv:
    """A header, unless the file has one, and the rows of each file, written at once."""

    def __init__(self, file: IO[str], names: Sequence[str], *, header: bool) -> None:
        self._file, self._names = file, names
        if header:
            self._write([list(names)])

    def show(self, outcome: Outcome) -> None:
        """Write the rows of one outcome."""
        self._write(rows(outcome, self._names))

    def _write(self, lines: list[list[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._file.write(text.getvalue())
        self._file.flush()


def choose_format(option: str | None, path: Path | None, formats: Sequence[str]) -> str:
    """Return one of `formats`: the option's value, else the format of the file's suffix, else `table`.

    Raise click.UsageError if the value or the suffix is not a format.
    """
    if option is not None:
        if option not in formats:
            raise click.UsageError(f"--format {option!r}: use one of {', '.join(formats)}")
        return option
    if path is None:
        return "table"
    suffix = path.suffix.lower().lstrip(".")
    if suffix in formats and suffix != "table":
        return suffix
    names = ", ".join(f".{format}" for format in formats if format != "table")
    hint = f"did you mean --format {path}?" if str(path) in formats else f"use {names}, or name the format by --format"
    raise click.UsageError(f"-o {path}: the name does not end in a format; {hint}")


def output_to(
    file: IO[str], format: str, names: list[str], *, row_names: Names | None, apart: bool, fresh: bool = True
) -> Output:
    """Return the output to an open file in a format: `table`, `jsonl`, or `csv` with the columns `names`.

    `row_names` are the names of files in the rows of a table; with None it has a block for each file, `apart` puts an
    empty line between them. `fresh` means that the file is empty.
    """
    if format == "jsonl":
        return JsonLines(file)
    if format == "csv":
        return Csv(file, names, header=fresh)
    return Blocks(console_on(file), apart) if row_names is None else Rows(console_on(file), row_names)


class PipeConsole(Console):
    """Console that raises BrokenPipeError when the reader of its output is gone, instead of SystemExit."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, which ends the command in order."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console_on(stream: TextIO | IO[str]) -> Console:
    """Return a console for a stream; output to files and pipes is not wrapped."""
    console = PipeConsole(file=stream, highlight=False)
    return console if console.is_terminal else PipeConsole(file=stream, highlight=False, width=UNBROKEN)


def save(path: Path, content: bytes) -> None:
    """Write a file atomically; raise click.FileError if that fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise click.FileError(str(path), hint=error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            part.unlink()


def to_standard_output(content: bytes) -> None:
    """Write bytes to standard output."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
