"""Command line `clipstack`: one module for each command."""

import os
import sys
from importlib.util import find_spec

import click

from .. import __version__
from .bulk.command import bulk
from .classify import classify
from .feedback import feedback
from .jobs import jobs
from .models import models
from .search import search
from .timeline import timeline
from .watch import watch
from .webhooks import webhooks

DOCTOR = "deploy.doctor"  # not imported: the client knows only HTTP and may be installed without the service


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def doctor(arguments: tuple[str, ...]) -> None:
    """Check the service on this machine; needs its checkout."""
    if find_spec("deploy") is None or find_spec(DOCTOR) is None:
        raise click.ClickException(
            "the service is not installed here: run .venv/bin/clipstack doctor in its checkout, or "
            "`docker compose exec web python -m deploy.doctor`"
        )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", DOCTOR, *arguments])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
def main() -> None:
    """Ask a Clipstack service what is in videos and pictures.

    \b
    Exit codes: 0 all is well, 1 a file was refused or could not be read,
    2 the command line is wrong, 3 the service is unreachable, busy or broken,
    130 and 143 it was interrupted by Ctrl-C or SIGTERM,
    141 the reader of its output ended.
    """
    for stream in (sys.stdout, sys.stderr):
        # Print a question mark for characters that the terminal's encoding lacks
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


for command in (classify, timeline, bulk, search, watch, jobs, feedback, webhooks, models, doctor):
    main.add_command(command)
