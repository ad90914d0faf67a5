"""Outputs of answers: tables, JSON lines or CSV, on standard output or into a file."""

from __future__ import annotations

import csv
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
from .tables import result_block
from .timeline_bar import timeline_block

UNBROKEN = 1000


class Output(Protocol):
    """Receiver of outcomes."""

    def show(self, outcome: Outcome) -> None:
        """Write one outcome."""
        ...


class Tables:
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


def choose_format(option: str | None, path: Path | None) -> str:
    """Return `table`, `jsonl` or `csv`: the option's value, else the format of the file's suffix."""
    if option is not None:
        return option
    if path is None:
        return "table"
    return "csv" if path.suffix.lower() == ".csv" else "jsonl"


def output_to(file: IO[str], format: str, names: list[str], *, apart: bool, fresh: bool = True) -> Output:
    """Return the output in that format to an open file.

    `names` are the columns of a CSV. `fresh` means that the file is empty.
    """
    if format == "jsonl":
        return JsonLines(file)
    if format == "csv":
        return Csv(file, names, header=fresh)
    return Tables(console_on(file), apart)


def console_on(stream: TextIO | IO[str]) -> Console:
    """Return a console for a stream; output to files and pipes is not wrapped."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, highlight=False, width=UNBROKEN)


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
