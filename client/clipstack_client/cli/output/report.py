"""Report of a command's outcomes: answers to its output, errors to standard error, and a summary."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
from rich.console import Console

from ..inputs import File
from ..options import OutputOptions
from ..resume import Key, finished_keys, open_output
from ..runner import Outcome
from .formats import Output, choose_format, console_on, output_to
from .progress import ProgressLines
from .records import OK, columns, exit_code
from .tables import error_block, summary


class Report:
    """Counts of the outcomes so far; `code` is the resulting exit code."""

    def __init__(self, output: Output, err: Console, lines: ProgressLines, *, apart: bool) -> None:
        self._output, self._err, self._lines, self._apart = output, err, lines, apart
        self.counts: Counter[str] = Counter()
        self.code = OK

    def show(self, outcome: Outcome, *, quiet: bool = False) -> None:
        """Report one file; with `quiet` print only errors. The summary counts files that were not sent.

        Errors go to standard error in any format, because JSON output may go where nobody reads it.
        """
        status = "done" if outcome.answer is not None else "failed" if outcome.error is not None else "not sent"
        self.counts[status] += 1
        self.code = max(self.code, exit_code(outcome))
        self._lines.count(failed=outcome.answer is None)
        with self._lines.hidden():
            if not quiet:
                self._output.show(outcome)
            if outcome.error is not None:
                self._err.print(error_block(outcome.file.shown, outcome.error), *[""] * self._apart)


@dataclass(frozen=True)
class OutputTarget:
    """File and format of one command's answers; `kind` is `classify` or `timeline`.

    `decides` adds a column to a CSV of `classify`, with the labels that pass.
    """

    kind: str
    format: str
    path: Path | None
    resume: bool
    top_k: int
    model: str | None
    decides: bool = False

    @classmethod
    def from_options(
        cls, kind: str, options: OutputOptions, top_k: int, model: str | None, *, decides: bool = False
    ) -> OutputTarget:
        """Build the target from a command's options; raise click.UsageError if they conflict."""
        if options.as_json and options.output not in (None, "jsonl"):
            raise click.UsageError(f"--json and --output {options.output} contradict each other: use one")
        format = "jsonl" if options.as_json else choose_format(options.output, options.save)
        if options.resume and (options.save is None or format == "table"):
            raise click.UsageError("--resume needs a file of answers: -o answers.jsonl or -o answers.csv")
        return cls(kind, format, options.save, options.resume, top_k, model, decides)

    @property
    def columns(self) -> list[str]:
        """Return the columns of a CSV."""
        return columns(self.kind, self.top_k, self.decides)

    def finished(self) -> set[Key]:
        """Return the keys of the files that need not be sent again."""
        if not self.resume or self.path is None:
            return set()
        return finished_keys(self.path, self.format, self.kind, self.columns, self.model)

    def unfinished(self, files: list[File]) -> list[File]:
        """Return the files that are not in the output yet."""
        keys = self.finished()
        return [file for file in files if file.key not in keys]

    @contextmanager
    def report(
        self, lines: ProgressLines, err: Console, verb: str, *, apart: bool, skipped: int = 0
    ) -> Iterator[Report]:
        """Open the output and show `lines`; at the end close the file and print the summary.

        Args:
            lines: Progress lines.
            err: Console for errors and the summary.
            verb: What was done to the files, for the summary.
            apart: Whether there are several files.
            skipped: Number of files that were done before.
        """
        with ExitStack() as resources:
            file: IO[str] = sys.stdout
            if self.path is not None:
                file = resources.enter_context(open_output(self.path, resume=self.resume))
            fresh = self.path is None or not file.tell()
            output = output_to(file, self.format, self.columns, apart=apart, fresh=fresh)
            report = Report(output, err, lines, apart=apart and self.path is None and self.format == "table")
            try:
                with lines:
                    yield report
            finally:
                if (apart or skipped) and (self.format == "table" or self.path is not None):
                    err.print(summary(report.counts, verb, skipped))


def error_console() -> Console:
    """Return the console on standard error."""
    return console_on(sys.stderr)
