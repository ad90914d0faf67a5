"""Command `clipstack doctor`: run the service's own doctor, on the service's machine."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

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
