"""Options that commands share, each group bundled into one argument of the command."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from ..async_client import DEFAULT_URL, AsyncClient
from ..errors import ReductionUnavailable
from ..reduction.uploader import Reduction

CHECKOUT = Path(__file__).resolve().parents[3]
SHOWN_URL = f"the stack of this checkout, or {DEFAULT_URL}"
MAX_CONCURRENCY = 32
SHRINK = ("always", "auto")
MEGABIT_BYTES = 125_000
ANSWER_FORMATS = ("table", "jsonl", "csv")

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


class ServiceOption(click.Option):
    """Option about the connection to the service; `--help` lists these apart."""


class Command(click.Command):
    """Command whose help has a section for the connection to the service."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then those of the connection."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Connection": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections["Connection" if isinstance(param, ServiceOption) else "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class ShrinkCommand(Command):
    """Command whose `--shrink` needs no value: the next argument is its value only if it is a valid one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give `--shrink` its default value if the next argument is not a value of it."""
        expanded = []
        for index, arg in enumerate(args):
            following = args[index + 1] if index + 1 < len(args) else None
            expanded.append("--shrink=always" if arg == "--shrink" and following not in SHRINK else arg)
        return super().parse_args(ctx, expanded)


@dataclass(frozen=True)
class ServiceOptions:
    """The service to connect to; `patience` is the waiting time in seconds per request."""

    url: str
    timeout: float
    patience: float
    key_file: Path | None
    ca_file: Path | None


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
        """Return the reduction that the options select.

        Raises:
            click.UsageError: The options conflict, or a package is missing.
        """
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


def _bundle(name: str, kind: Callable[..., object], *options: Callable[[AnyCommand], AnyCommand]) -> Callable[..., Any]:
    """Return a decorator that adds options to a command and passes their values as one argument, a `kind`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def call(**arguments: Any) -> Any:
            values = {option: arguments.pop(option) for option in names}
            return command(**arguments, **{name: kind(**values)})

        before = len(getattr(command, "__click_params__", ()))
        for option in reversed(options):
            call = option(call)
        names = [parameter.name for parameter in call.__click_params__[before:]]  # type: ignore[attr-defined]
        return call

    return decorate


def default_url() -> str:
    """Return the address of the stack that runs from this checkout, or the usual address."""
    run_dir = os.environ.get("CLIPSTACK_RUN_DIR") or CHECKOUT / ".runtime" / "run"
    try:
        return Path(run_dir, "url").read_text().strip() or DEFAULT_URL
    except OSError:
        return DEFAULT_URL


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)

service_options = _bundle(
    "service",
    ServiceOptions,
    click.option(
        "--url",
        cls=ServiceOption,
        envvar="CLIPSTACK_URL",
        show_envvar=True,
        default=default_url,
        show_default=SHOWN_URL,
        help="Address of the service.",
    ),
    click.option(
        "--timeout",
        cls=ServiceOption,
        type=POSITIVE,
        default=120.0,
        show_default=True,
        help="Longest silence, in seconds.",
    ),
    click.option(
        "--patience",
        cls=ServiceOption,
        type=click.FloatRange(min=0),
        default=20.0,
        show_default=True,
        help="Seconds per file to wait for a busy service.",
    ),
    # A file instead of the key itself, because every user of the machine can see a command line
    click.option(
        "--key-file",
        cls=ServiceOption,
        type=FILE,
        envvar="CLIPSTACK_KEY_FILE",
        show_envvar=True,
        help="File with the service's API key.  [default: CLIPSTACK_KEY in the environment]",
    ),
    click.option(
        "--ca-file",
        cls=ServiceOption,
        type=FILE,
        envvar="CLIPSTACK_CA_FILE",
        show_envvar=True,
        help="For https: certificates to trust instead of the system's, for example a self-signed one.",
    ),
)


def output_options(formats: Sequence[str]) -> Callable[[AnyCommand], AnyCommand]:
    """Return a decorator that adds the options of `OutputOptions`; `formats` are named in the help."""
    listed = ", ".join(formats)
    return _bundle(
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


selection_options = _bundle(
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
    "-j",
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    default=4,
    show_default=True,
    help="Files sent at the same time.",
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
        "--rate",
        type=POSITIVE,
        metavar="MBIT",
        help="Upload rate in Mbit/s for --shrink auto.  [default: measured]",
    )
    return _bundle("reduction", ReductionOptions, *([shrink, single, rate] if frames else [shrink, rate]))


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


@asynccontextmanager
async def connect(service: ServiceOptions, rate: float | None = None) -> AsyncIterator[AsyncClient]:
    """Yield a client; raise click.UsageError for an invalid URL or key. `rate` is in Mbit/s."""
    try:
        client = AsyncClient(
            service.url,
            timeout=service.timeout,
            patience=service.patience,
            rate=rate and rate * MEGABIT_BYTES,
            key=None if service.key_file is None else service.key_file.read_text(errors="replace"),
            verify=service.ca_file or True,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.BadParameter(f"{service.ca_file}: {error}", param_hint="--ca-file") from error
    async with client:
        yield client
