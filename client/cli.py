"""The command line: `clipstack classify FILE...` and `clipstack models`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import click

from client.answers import Result
from client.async_client import DEFAULT_URL
from client.client import Client
from client.errors import ClipstackError
from client.reports import INTERRUPTED, Consoles, exit_code, shown
from client.runs import Outcome, run
from client.tables import error_block, models_block, summary
from client.upload import Source
from client.uploads import UploadLines

MOST_JOBS = 32

Command = TypeVar("Command", bound=Callable[..., Any])


def service_options(command: Command) -> Command:
    """The options that say which service, and how long to wait for it."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=120.0,
            show_default=True,
            help="Longest silence, in seconds.",
        ),
        click.option(
            "--url",
            envvar="CLIPSTACK_URL",
            show_envvar=True,
            default=DEFAULT_URL,
            show_default=True,
            help="Address of the service.",
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clipstack")
def main() -> None:
    """Ask a Clipstack service what is in videos and pictures.

    \b
    Exit codes: 0 all is well, 1 a file was refused or could not be read,
    2 the command line is wrong, 3 the service is out of reach, busy or broken.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another time shows a question mark rather than a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


@main.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
@click.option("--model", help="Model to ask; the service's default when left out.")
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Labels to show.")
@click.option("--clips", type=click.IntRange(min=1), help="Clips to look at, spread over the video.")
@click.option(
    "--jobs",
    type=click.IntRange(1, MOST_JOBS),
    default=1,
    show_default=True,
    help="Files under way at a time.",
)
@service_options
@click.pass_context
def classify(
    context: click.Context,
    files: tuple[str, ...],
    model: str | None,
    top_k: int,
    clips: int | None,
    jobs: int,
    url: str,
    timeout: float,
    as_json: bool,
) -> None:
    """Say what is in each FILE; - reads from standard input."""
    consoles = Consoles()
    outcomes = []
    with opened(url, timeout) as client, UploadLines(consoles.err) as lines:

        def work(file: str) -> Result:
            with lines.line(shown(file)) as watcher:
                source: Source = sys.stdin.buffer if file == "-" else file
                return client.classify(source, model=model, top_k=top_k, clips=clips, progress=watcher)

        for outcome in run(work, files, jobs):
            outcomes.append(outcome)
            with lines.hidden():
                consoles.show(outcome, as_json=as_json, apart=len(files) > 1)
    if len(files) > 1 and not as_json:
        consoles.err.print(summary(outcomes))
    context.exit(max(map(exit_code, outcomes)))


@main.command()
@service_options
@click.pass_context
def models(context: click.Context, url: str, timeout: float, as_json: bool) -> None:
    """List the models that the service offers."""
    consoles = Consoles()
    with opened(url, timeout) as client:
        try:
            offered = client.models()
        except ClipstackError as error:
            consoles.err.print(error_block(None, error))
            context.exit(exit_code(Outcome("", error=error)))
    if as_json:
        click.echo(json.dumps({"models": [asdict(model) for model in offered]}))
    else:
        consoles.out.print(models_block(offered))


@contextmanager
def opened(url: str, timeout: float) -> Iterator[Client]:
    """A client; a wrong URL is a wrong command line, and Ctrl-C ends with its usual exit code."""
    try:
        client = Client(url, timeout=timeout)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from error
    with client:
        try:
            yield client
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
