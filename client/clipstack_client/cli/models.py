"""Command `clipstack models`: list the service's models."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from ..errors import ClipstackError
from .inputs import File
from .options import connected, finish, service_options
from .output.formats import console_on
from .output.records import FINE, exit_code
from .output.report import error_console
from .output.tables import error_block, models_block
from .runner import Outcome


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@service_options
@click.pass_context
def models(context: click.Context, url: str, timeout: float, patience: float, as_json: bool) -> None:
    """List the models that the service offers."""

    async def work() -> int:
        async with connected(url, timeout, patience) as client:
            try:
                offered = await client.models()
            except ClipstackError as error:
                error_console().print(error_block(None, error))
                return exit_code(Outcome(File(""), error=error))
        if as_json:
            click.echo(json.dumps({"models": [asdict(model) for model in offered]}))
        else:
            console_on(sys.stdout).print(models_block(offered))
        return FINE

    context.exit(finish(work()))
