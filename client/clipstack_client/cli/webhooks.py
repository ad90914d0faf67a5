"""Commands `clipstack webhooks`: list events, send one again, try a receiver, show the secret."""

from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from ..async_client import AsyncClient
from ..webhooks import Webhook
from .jobs import MAX_LISTED, ListByDefault, run_with_client
from .options.connection import ServiceOptions, service_options
from .output.formatting import plain
from .output.records import OK, REFUSED
from .output.report import error_console, print_list

STATES = {"pending": "cyan", "delivered": "green", "dead": "red"}


@click.group(cls=ListByDefault, short_help="List, repeat and try webhooks.")
def webhooks() -> None:
    """List, repeat and try webhooks: events of jobs that the service sends to a receiver.

    `clipstack webhooks` alone lists them, and takes the options of `clipstack webhooks list`.
    """


@webhooks.command("list")
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=20, help="Most events to list.")
@click.option("--state", type=click.Choice(list(STATES)), help="Only these; `dead`: no attempt is left.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each event.")
@service_options
def list_webhooks(limit: int, state: str | None, as_json: bool, service: ServiceOptions) -> None:
    """List the events, newest first."""

    async def show(client: AsyncClient) -> int:
        hint = "there are no events: `clipstack timeline FILE --callback-url URL`"
        return print_list(await client.webhooks(limit, state=state), webhooks_table, hint, as_json=as_json)

    run_with_client(service, show)


@webhooks.command()
@click.argument("callback_url", metavar="URL")
@service_options
def test(callback_url: str, service: ServiceOptions) -> None:
    """Have the service send a test event to URL, and say what came of it."""

    async def send(client: AsyncClient) -> int:
        event = await client.test_webhook(callback_url)
        if event.state == "delivered":
            click.echo(f"delivered: {callback_url} answered {event.status} to {event.id}")
            return OK
        error_console().print(Text(plain(f"not delivered: {event.error}"), "red"))
        return REFUSED

    run_with_client(service, send)


@webhooks.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@service_options
def retry(ids: tuple[str, ...], service: ServiceOptions) -> None:
    """Send the events ID... again."""

    async def send(client: AsyncClient) -> int:
        for id in ids:
            event = await client.retry_webhook(id)
            click.echo(f"{event.id}  {event.state}")
        return OK

    run_with_client(service, send)


@webhooks.command()
@service_options
def secret(service: ServiceOptions) -> None:
    """Print the secret with which receivers of this key's jobs check signatures."""

    async def show(client: AsyncClient) -> int:
        click.echo(await client.webhook_secret())
        return OK

    run_with_client(service, show)


def webhooks_table(events: Sequence[Webhook]) -> Table:
    """Return a table with one line for each event."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in ("event", "type", "state", "tries", "job"):
        table.add_column(name, no_wrap=True)
    table.add_column("last answer", overflow="ellipsis", no_wrap=True)
    for event in events:
        answer = event.error or ("" if event.status is None else str(event.status))
        table.add_row(
            plain(event.id),
            plain(event.type),
            Text(event.state, style=STATES.get(event.state, "default")),
            str(event.attempts),
            plain(event.job or ""),
            plain(answer),
        )
    return table
