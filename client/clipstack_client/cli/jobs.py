"""Commands `clipstack jobs`: list, show, cancel and remove jobs."""

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone

import click
from rich.text import Text

from ..async_client import AsyncClient
from ..errors import ClipstackError
from .options.commands import Command
from .options.connection import ServiceOptions, connect, service_options
from .output.formats import console_on
from .output.formatting import plain
from .output.progress import ProgressLines
from .output.records import OK
from .output.report import error_console, print_error, print_list
from .output.rows import SHORT_ID, JobsTable
from .output.timeline_bar import timeline_block
from .runner import run_command

FULL_ID = 24  # characters of a job's id
MAX_LISTED = 10_000  # jobs that one command lists or searches


class ListByDefault(click.Group):
    """Group that runs `list` when no command is named; options then belong to the list."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `list` before the arguments if they name no command."""
        named = args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        completing = ctx.resilient_parsing
        return super().parse_args(ctx, args if named or completing else ["list", *args])


@click.group(cls=ListByDefault, short_help="List, show, cancel and remove timelines.")
def jobs() -> None:
    """List, show, cancel and remove jobs: videos that are labelled from start to end.

    `clipstack jobs` alone lists them, and takes the options of `clipstack jobs list`.
    """


def run_with_client(service: ServiceOptions, ask: Callable[[AsyncClient], Awaitable[int]]) -> None:
    """Run `ask` with a client and exit with its code; print an error of the service."""

    async def work() -> int:
        async with connect(service) as client:
            try:
                return await ask(client)
            except ClipstackError as error:
                return print_error(None, error)

    run_command(work())


@jobs.command("list", cls=Command)
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=20, help="Most jobs to list.")
@click.option(
    "--state", type=click.Choice(["queued", "running", "done", "failed", "cancelled"]), help="Only jobs in this state."
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each job.")
@service_options
def list_jobs(limit: int, state: str | None, as_json: bool, service: ServiceOptions) -> None:
    """List the jobs, newest first."""

    async def show(client: AsyncClient) -> int:
        hint = "there are no jobs: `clipstack timeline FILE` makes one"
        now = datetime.now(timezone.utc)
        return print_list(await client.jobs(limit, state), lambda jobs: JobsTable(jobs, now), hint, as_json=as_json)

    run_with_client(service, show)


@jobs.command(cls=Command)
@click.argument("short", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
@click.option("--windows", is_flag=True, help="Include every window in the JSON.")
@click.option("--follow", is_flag=True, help="Wait until the job has ended.")
@service_options
def show(short: str, as_json: bool, windows: bool, follow: bool, service: ServiceOptions) -> None:
    """Show the job ID, and its timeline as far as it is complete."""

    async def show(client: AsyncClient) -> int:
        id = await full_id(client, short)
        if follow:
            with ProgressLines(error_console()) as lines, lines.line(id) as line:
                async for record in client.follow(id):
                    line.show(record)
        job = await client.job(id, windows=windows)
        if as_json:
            click.echo(json.dumps(job.answer))
        else:
            console_on(sys.stdout).print(timeline_block(job.name or "(no name)", job))
        return OK

    run_with_client(service, show)


async def full_id(client: AsyncClient, id: str) -> str:
    """Return the id of the job that `id` is the beginning of, as tables show it; `id` itself if it is complete.

    Raise click.UsageError if several jobs begin with it.
    """
    if not SHORT_ID <= len(id) < FULL_ID:
        return id
    found = [job.id for job in await client.jobs(MAX_LISTED) if job.id.startswith(id)]
    if len(found) > 1:
        raise click.UsageError(f"several jobs begin with {id}: {', '.join(found)}")
    return found[0] if found else id


async def apply(ids: Sequence[str], action: Callable[[str], Awaitable[str]]) -> int:
    """Apply `action` to each id and print its result; a failure does not stop the others."""
    code, out = OK, console_on(sys.stdout)
    for id in ids:
        try:
            out.print(Text(f"{plain(id)}  {await action(id)}"))
        except ClipstackError as error:
            code = max(code, print_error(id, error))
    return code


@jobs.command(cls=Command)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@service_options
def cancel(ids: tuple[str, ...], service: ServiceOptions) -> None:
    """Stop the jobs ID...; those that have ended stay unchanged."""

    async def cancel_all(client: AsyncClient) -> int:
        async def stop(id: str) -> str:
            return (await client.cancel(await full_id(client, id))).state

        return await apply(ids, stop)

    run_with_client(service, cancel_all)


@jobs.command(cls=Command, short_help="Remove jobs with their files.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--ended", is_flag=True, help="Remove all jobs that have ended.")
@service_options
def remove(ids: tuple[str, ...], ended: bool, service: ServiceOptions) -> None:
    """Remove the jobs ID... with their files; running jobs are stopped first."""
    if bool(ids) == ended:
        raise click.UsageError("name the jobs to remove, or use --ended")

    async def remove_all(client: AsyncClient) -> int:
        async def drop(id: str) -> str:
            await client.remove(await full_id(client, id))
            return "removed"

        listed = await client.jobs(MAX_LISTED) if ended else ()
        return await apply(ids or [job.id for job in listed if job.ended], drop)

    run_with_client(service, remove_all)
