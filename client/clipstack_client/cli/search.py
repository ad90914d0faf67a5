"""Command `clipstack search`: find similar moments in kept jobs."""

import json
import sys

import click
from rich.text import Text

from ..async_client import AsyncClient
from ..errors import ClipstackError
from ..http.upload import Source
from .inputs import STANDARD_INPUT
from .jobs import run_with_client
from .options.connection import ServiceOptions, service_options
from .output.formats import console_on
from .output.report import error_console, print_error
from .output.tables import matches_table

MAX_MATCHES = 100  # the service's limit


@click.command(short_help="Find similar moments in kept jobs.")
@click.argument("file", required=False, metavar="[FILE]", type=click.Path(readable=False))
@click.option("--job", metavar="ID", help="Search for a window of this job in place of a file.")
@click.option("--window", type=click.IntRange(min=0), help="Number of the job's window, from 0.")
@click.option("--model", help="Name of the model.  [default: the service's]")
@click.option("--clips", type=click.IntRange(min=1), help="Number of clips, spread over the video.")
@click.option("--limit", type=click.IntRange(1, MAX_MATCHES), default=10, help="Most moments.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@service_options
def search(
    file: str | None,
    job: str | None,
    window: int | None,
    model: str | None,
    clips: int | None,
    limit: int,
    as_json: bool,
    service: ServiceOptions,
) -> None:
    """Find the moments most like FILE (a picture, a video, or - for standard input) or a job's window.

    Only jobs are searched that keep embeddings: `clipstack timeline --embedding film.mp4`.
    """
    if (file is None) == (job is None) or (job is None) != (window is None):
        raise click.UsageError("name a file, or --job and --window")
    source: Source | None = sys.stdin.buffer if file == STANDARD_INPUT else file

    async def show(client: AsyncClient) -> int:
        try:
            found = await client.search(source, job=job, window=window, model=model, clips=clips, limit=limit)
        except (ClipstackError, OSError) as error:
            return print_error(file, error)
        if as_json:
            click.echo(json.dumps(found.answer))
        elif found.matches:
            console_on(sys.stdout).print(matches_table(found.matches))
        else:
            hint = "`clipstack timeline --embedding FILE` keeps some" if not found.jobs else ""
            error_console().print(Text(f"nothing found in {found.jobs} jobs {hint}".rstrip(), "dim"))
        return 0

    run_with_client(service, show)
