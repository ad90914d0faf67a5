"""Report of a command's outcomes: answers to its output, errors to standard error, and a summary."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import click
from rich.console import Console, RenderableType
from rich.text import Text

from ...errors import ClipstackError
from ...feedback import Feedback
from ...jobs import Job
from ...webhooks import Webhook
from ..inputs import File
from ..options.shared import ANSWER_FORMATS, OutputOptions
from ..resume import Key, finished_keys, open_output
from ..runner import Outcome
from .formats import Output, choose_format, console_on, output_to
from .progress import ProgressLines
from .records import OK, columns, exit_code
from .rows import Names
from .tables import error_block, error_line, summary

T = TypeVar("T", Job, Feedback, Webhook)

MAX_REPEATED = 50  # failures that are repeated at the end


class Report:
    """Counts of the outcomes so far; `code` is the resulting exit code."""

    def __init__(self, output: Output, err: Console, lines: ProgressLines, *, several: bool) -> None:
        self._output, self._err, self._lines, self._several = output, err, lines, several
        self._failures: list[Outcome] = []
        self.counts: Counter[str] = Counter()
        self.code = OK
        self.unread = False  # the reader of the output is gone

    def show(self, outcome: Outcome, *, only_errors: bool = False) -> None:
        """Report one file. The summary counts files that were not sent.

        Errors go to standard error in any format, because JSON output may go where nobody reads it. Of several files
        each error is one line here, and `show_failures` has the details.
        """
        status = "done" if outcome.answer is not None else "failed" if outcome.error is not None else "not sent"
        self.counts[status] += 1
        self.code = max(self.code, exit_code(outcome))
        self._lines.count(failed=outcome.answer is None)
        with self._lines.hidden():
            if not only_errors:
                try:
                    self._output.show(outcome)
                except BrokenPipeError:
                    self.unread = True
                    raise
            if outcome.error is not None:
                self._err.print((error_line if self._several else error_block)(outcome.file.shown, outcome.error))
                if len(self._failures) < MAX_REPEATED:
                    self._failures.append(outcome)

    def show_failures(self) -> None:
        """Repeat the failures of several files with their details, so that they stand together at the end."""
        if not self._several or not self._failures:
            return
        total = self.counts["failed"]
        self._err.print(Text(f"\n{total} failed:", "bold"))
        for outcome in self._failures:
            if outcome.error is not None:
                self._err.print(error_block(outcome.file.shown, outcome.error))
        if total > len(self._failures):
            self._err.print(Text(f"and {total - len(self._failures)} more, shown above", "dim"))


@dataclass(frozen=True)
class OutputTarget:
    """File and format of one command's answers; `kind` is `classify` or `timeline`.

    `decides` adds a column to a CSV of `classify`, with the labels that pass.
    """

    kind: str
    format: str
    options: OutputOptions
    top_k: int
    model: str | None
    decides: bool = False

    @classmethod
    def from_options(
        cls, kind: str, options: OutputOptions, top_k: int, model: str | None, *, decides: bool = False
    ) -> OutputTarget:
        """Build the target from a command's options; raise click.UsageError if they conflict."""
        if options.as_json and options.format not in (None, "jsonl"):
            raise click.UsageError(f"--json and --format {options.format} contradict each other: use one")
        format = "jsonl" if options.as_json else choose_format(options.format, options.path, ANSWER_FORMATS)
        if options.resume and (options.path is None or format == "table"):
            raise click.UsageError("--resume needs a file of answers: -o answers.jsonl or -o answers.csv")
        if options.resume and options.force:
            raise click.UsageError("--resume and --force exclude each other: continue the file, or overwrite it")
        return cls(kind, format, options, top_k, model, decides)

    @property
    def path(self) -> Path | None:
        """Return the file of the answers, None for standard output."""
        return self.options.path

    @property
    def columns(self) -> list[str]:
        """Return the columns of a CSV."""
        return columns(self.kind, self.top_k, self.decides)

    def finished(self) -> set[Key]:
        """Return the keys of the files that need not be sent again."""
        if not self.options.resume or self.path is None:
            return set()
        return finished_keys(self.path, self.format, self.kind, self.columns, self.model)

    def unfinished(self, files: list[File]) -> list[File]:
        """Return the files that are not in the output yet."""
        keys = self.finished()
        return [file for file in files if file.key not in keys]

    @contextmanager
    def report(
        self, lines: ProgressLines, err: Console, verb: str, *, names: Sequence[str] | None, skipped: int = 0
    ) -> Iterator[Report]:
        """Open the output and show `lines`; at the end close the file and print the summary on `err`.

        `verb` says in the summary what was done to the files. `names` are those of the files, None if they are unknown
        and may be many. `skipped` is the number of files that were done before.
        """
        several = names is None or len(names) > 1
        with ExitStack() as resources:
            file: IO[str] = sys.stdout
            if self.path is not None:
                file = resources.enter_context(
                    open_output(self.path, resume=self.options.resume, force=self.options.force)
                )
            fresh = self.path is None or not file.tell()
            row_names = Names.of(names) if several and not self.options.verbose else None
            output = output_to(file, self.format, self.columns, row_names=row_names, apart=several, fresh=fresh)
            report = Report(output, err, lines, several=several)
            try:
                with lines:
                    yield report
            finally:
                if not report.unread:
                    report.show_failures()
                shown = (several or skipped) and (self.format == "table" or self.path is not None)
                if shown and not report.unread and not self.options.quiet:
                    err.print(summary(report.counts, verb, skipped))


def error_console() -> Console:
    """Return the console on standard error."""
    return console_on(sys.stderr)


def print_error(name: str | None, error: ClipstackError | OSError) -> int:
    """Print an error, and return its exit code."""
    error_console().print(error_block(name, error))
    return exit_code(Outcome(File(name or ""), error=error))


def print_list(
    entries: Sequence[T], table: Callable[[Sequence[T]], RenderableType], hint: str, *, as_json: bool
) -> int:
    """Print records of the service as a table or as JSON lines, or a hint if there are none; return the exit code."""
    if as_json:
        for entry in entries:
            click.echo(json.dumps(entry.answer))
    elif entries:
        console_on(sys.stdout).print(table(entries))
    else:
        error_console().print(Text(hint, "dim"))
    return OK
