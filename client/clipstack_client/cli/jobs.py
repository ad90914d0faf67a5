"""Commands `clipstack jobs`: list, show, cancel and remove jobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable

import click
from rich.text import Text

from ..async_client import AsyncClient
from ..errors import ClipstackError
from ..jobs import Job
from .inputs import File
from .options import connected, finish, service_options
from .output.formats import console_on
from .output.formatting import plain
from .output.progress import ProgressLines
from .output.records import FINE, exit_code
from .output.report import error_console
from .output.tables import error_block
from .output.timeline_bar import jobs_table, timeline_block
from .runner import Outcome

MOST_LISTED = 500  # the service's limit


class ListsByItself(click.Group):
    """Group that runs `list` when no command is named; options then belong to the list."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `list` before the arguments if they name no command."""
        named = args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["list", *args])


@click.group(cls=ListsByItself, short_help="List, show, cancel and remove timelines.")
def jobs() -> None:
    """List, show, cancel and remove jobs: videos that are looked at from start to end.

    Without a command of its own, `clipstack jobs` lists them, and takes the options of `clipstack jobs list`.
    """


def _asked(url: str, timeout: float, patience: float, ask: Callable[[AsyncClient], Awaitable[int]]) -> int:
    """Run `ask` with a client and return the exit code; print an error of the service."""

    async def work() -> int:
        async with connected(url, timeout, patience) as client:
            try:
                return await ask(client)
            except ClipstackError as error:
                error_console().print(error_block(None, error))
                return exit_code(Outcome(File(""), error=error))

    return finish(work())


@jobs.command("list")
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=20, show_default=True, help="Most jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each job.")
@service_options
@click.pass_context
def list_jobs(context: click.Context, limit: int, as_json: bool, url: str, timeout: float, patience: float) -> None:
    """List the jobs, newest first."""

    async def ask(client: AsyncClient) -> int:
        listed = await client.jobs(limit)
        if as_json:
            for job in listed:
                click.echo(json.dumps(job.answer))
        elif listed:
            console_on(sys.stdout).print(jobs_table(listed))
        else:
            error_console().print(Text("there are no jobs: `clipstack timeline FILE` makes one", "dim"))
        return FINE

    context.exit(_asked(url, timeout, patience, ask))


@jobs.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
@click.option("--windows", is_flag=True, help="With every single window, in the JSON.")
@click.option("--follow", is_flag=True, help="Wait until it has ended.")
@service_options
@click.pass_context
def show(
    context: click.Context,
    id: str,
    as_json: bool,
    windows: bool,
    follow: bool,
    url: str,
    timeout: float,
    patience: float,
) -> None:
    """Show the job ID, and its timeline as far as there is one."""

    async def ask(client: AsyncClient) -> int:
        if follow:
            with ProgressLines(error_console()) as lines, lines.line(id) as line:
                async for record in client.follow(id):
                    line.job(record)
        job = await client.job(id, windows=windows)
        if as_json:
            click.echo(json.dumps(job.answer))
        else:
            console_on(sys.stdout).print(timeline_block(job.name or "(no name)", job))
        return FINE

    context.exit(_asked(url, timeout, patience, ask))


def _each(ids: tuple[str, ...], what: Callable[[AsyncClient, str], Awaitable[str]]) -> Callable[..., Awaitable[int]]:
    """Return a function that applies `what` to each job; a failure does not stop the others."""

    async def ask(client: AsyncClient) -> int:
        code, out, err = FINE, console_on(sys.stdout), error_console()
        for id in ids:
            try:
                out.print(Text(f"{plain(id)}  {await what(client, id)}"))
            except ClipstackError as error:
                err.print(error_block(id, error))
                code = max(code, exit_code(Outcome(File(id), error=error)))
        return code

    return ask


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@service_options
@click.pass_context
def cancel(context: click.Context, ids: tuple[str, ...], url: str, timeout: float, patience: float) -> None:
    """Stop the jobs ID...; those that have ended stay as they are."""

    async def stop(client: AsyncClient, id: str) -> str:
        return (await client.cancel(id)).state

    context.exit(_asked(url, timeout, patience, _each(ids, stop)))


@jobs.command(short_help="Remove jobs with their files.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--ended", is_flag=True, help="Remove all that have ended.")
@service_options
@click.pass_context
def remove(
    context: click.Context, ids: tuple[str, ...], ended: bool, url: str, timeout: float, patience: float
) -> None:
    """Remove the jobs ID... with their files; those that still run are stopped first."""
    if bool(ids) == ended:
        raise click.UsageError("name the jobs, or say --ended")

    async def drop(client: AsyncClient, id: str) -> str:
        await client.remove(id)
        return "removed"

    async def ask(client: AsyncClient) -> int:
        listed: tuple[Job, ...] = await client.jobs(MOST_LISTED) if ended else ()
        return await _each(ids or tuple(job.id for job in listed if job.ended), drop)(client)

    context.exit(_asked(url, timeout, patience, ask))
