"""Options that several commands share, each group bundled into one argument of the command."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ...errors import ReductionUnavailable
from ...reduction.uploader import Reduction
from .bundle import AnyCommand, bundle
from .commands import SHRINK
from .connection import POSITIVE, ServiceOptions, service_options

MAX_CONCURRENCY = 32
ANSWER_FORMATS = ("table", "jsonl", "csv")


@dataclass(frozen=True)
class OutputOptions:
    """File and format of the answers, and how much to print.

    `resume` continues a file that has answers already, `force` overwrites it. `verbose` prints a block for each of
    several files instead of a row; `quiet` leaves out progress and summary.
    """

    path: Path | None
    format: str | None
    as_json: bool
    resume: bool
    force: bool
    verbose: bool
    quiet: bool


@dataclass(frozen=True)
class SelectionOptions:
    """Threshold for all labels, and the labels to ask about, as text with commas."""

    min_score: float | None
    labels: str | None
    exclude: str | None

    @property
    def is_used(self) -> bool:
        """Return whether any of the options is given."""
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True)
class ReductionOptions:
    """Options that choose the part of a video to send; `rate` is the upload rate in Mbit/s, or None if unknown."""

    shrink: str | None
    rate: float | None
    frames: bool = False

    @property
    def reduction(self) -> Reduction:
        """Return the selected reduction; raise click.UsageError if options conflict, or a package is missing."""
        if self.shrink is None and not self.frames:
            return "none"
        if self.shrink is not None and self.frames:
            raise click.UsageError("--shrink and --frames exclude each other: use one, or let --shrink auto choose")
        if find_spec("av") is None or find_spec("numpy") is None:
            raise click.UsageError(ReductionUnavailable().message)
        return "frames" if self.frames else "auto" if self.shrink == "auto" else "shrink"


@dataclass(frozen=True)
class SendingOptions:
    """Options of a command that sends files; `concurrency` is the number of files sent at the same time."""

    concurrency: int
    reduction: ReductionOptions
    output: OutputOptions
    service: ServiceOptions


def output_options(formats: Sequence[str]) -> Callable[[AnyCommand], AnyCommand]:
    """Return a decorator that adds the options of `OutputOptions`; `formats` are named in the help."""
    listed = ", ".join(formats)
    return bundle(
        "output",
        OutputOptions,
        click.option(
            "-o", "--output", "path", type=click.Path(path_type=Path), metavar="FILE", help="Write the answers to FILE."
        ),
        click.option(
            "--format",
            metavar="FORMAT",
            help=f"Format of the answers: {listed}.  [default: by the suffix of FILE, else a table]",
        ),
        click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl."),
        click.option("--resume", is_flag=True, help="Continue FILE: skip the files that have an answer in it."),
        click.option("--force", is_flag=True, help="Overwrite FILE."),
        click.option("-v", "--verbose", is_flag=True, help="Print all details of each file instead of one row."),
        click.option("-q", "--quiet", is_flag=True, help="Print only answers and errors: no progress, no summary."),
    )


selection_options = bundle(
    "selection",
    SelectionOptions,
    click.option(
        "--min-score",
        type=click.FloatRange(0, 1),
        help="Score from which on a label passes.  [default: the model's thresholds]",
    ),
    click.option("--labels", metavar="A,B", help="Only these labels.  [default: all]"),
    click.option("--exclude", metavar="A,B", help="But not these labels."),
)

concurrency_option = click.option(
    "-j", "--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=4, help="Files sent at the same time."
)


def reduction_options(frames: bool) -> Callable[[AnyCommand], AnyCommand]:
    """Return a decorator that adds the options for smaller uploads; `frames` allows single frames."""
    shrink = click.option(
        "--shrink",
        type=click.Choice(SHRINK),
        metavar="[auto]",
        help="Send a smaller copy of each video, or with `auto` whatever is fastest: file, copy or frames.",
    )
    single = click.option("--frames", is_flag=True, help="Send only the frames that the model needs.")
    rate = click.option(
        "--rate", type=POSITIVE, metavar="MBIT", help="Upload rate in Mbit/s for --shrink auto.  [default: measured]"
    )
    return bundle("reduction", ReductionOptions, *([shrink, single, rate] if frames else [shrink, rate]))


def sending_options(frames: bool, formats: Sequence[str] = ANSWER_FORMATS) -> Callable[..., Any]:
    """Return a decorator that adds the options of `SendingOptions`.

    `frames` allows single frames. `formats` are the formats of the answers.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def call(**arguments: Any) -> Any:
            values = {field.name: arguments.pop(field.name) for field in fields(SendingOptions)}
            return command(**arguments, sending=SendingOptions(**values))

        for option in (service_options, output_options(formats), reduction_options(frames), concurrency_option):
            call = option(call)
        return call

    return decorate
