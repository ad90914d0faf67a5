"""Command `clipstack models`: list the service's models."""

import json
import sys
from dataclasses import asdict

import click

from ..async_client import AsyncClient
from .jobs import run_with_client
from .options.commands import Command
from .options.connection import ServiceOptions, service_options
from .output.formats import console_on
from .output.records import OK
from .output.tables import models_block


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@service_options
def models(service: ServiceOptions, as_json: bool) -> None:
    """List the models that the service offers."""

    async def show(client: AsyncClient) -> int:
        offered = await client.models()
        if as_json:
            click.echo(json.dumps({"models": [asdict(model) for model in offered]}))
        else:
            console_on(sys.stdout).print(models_block(offered))
        return OK

    run_with_client(service, show)
