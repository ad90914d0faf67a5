"""Commands `clipstack feedback`: list, give, remove, export and import corrections."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from ..async_client import AsyncClient
from ..errors import ClipstackError
from ..exchange import MEDIA, InvalidExport, fiftyone, label_studio, media_name
from ..feedback import Feedback
from .jobs import ListByDefault, apply, run_with_client
from .options.connection import ServiceOptions, service_options
from .output.formats import console_on
from .output.formatting import plain
from .output.records import OK
from .output.report import error_console, print_error, print_list

STATES = ("unsure", "confirmed", "corrected")
FORMATS = {"label-studio": label_studio.read, "fiftyone": fiftyone.read}
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(cls=ListByDefault, short_help="Correct answers; export and import corrections.")
def feedback() -> None:
    """Confirm and correct answers, and exchange corrections with Label Studio and FiftyOne.

    The service keeps them with CLIPSTACK_FEEDBACK=on. `clipstack feedback` alone lists them.
    """


@feedback.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only entries in this state.")
@click.option("--model", help="Only entries about this model.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each entry.")
@service_options
def list_feedback(state: str | None, model: str | None, as_json: bool, service: ServiceOptions) -> None:
    """List the entries, the last change first."""

    async def show(client: AsyncClient) -> int:
        entries = [entry async for entry in client.feedback(state=state, model=model)]
        hint = "there is no feedback: `clipstack feedback give FILE LABEL` gives some"
        return print_list(entries, _table, hint, as_json=as_json)

    run_with_client(service, show)


def _table(rows: Sequence[Feedback]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "state", "file", "part", "labels", "predicted", "model"):
        table.add_column(column, overflow="fold")
    for row in rows:
        part = "" if row.start_s is None or row.end_s is None else f"{row.start_s:.2f}-{row.end_s:.2f} s"
        labels, predicted = ", ".join(row.labels), ", ".join(row.predicted)
        cells = (row.id, row.state, row.file_name, part, labels, predicted, row.model)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


@feedback.command()
@click.argument("source", metavar="FILE|JOB")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL...")
@click.option("--model", help="Model that answered about the file.  [default: the service's]")
@click.option("--start", "start_s", type=click.FloatRange(min=0), help="Start of the part of the video, seconds.")
@click.option("--end", "end_s", type=click.FloatRange(min=0), help="Its end, seconds.")
@service_options
def give(
    source: str,
    labels: tuple[str, ...],
    model: str | None,
    start_s: float | None,
    end_s: float | None,
    service: ServiceOptions,
) -> None:
    """Say which labels are right for a file, or for the video of a job."""

    async def send(client: AsyncClient) -> int:
        path = Path(source)
        parts = {"model": model, "start_s": start_s, "end_s": end_s}
        if path.is_file():
            entry = await client.give_feedback(path, labels=labels, **parts)  # type: ignore[arg-type]
        else:
            entry = await client.give_feedback(job=source, labels=labels, start_s=start_s, end_s=end_s)
        console_on(sys.stdout).print(Text(f"{entry.id}  {entry.state}"))
        return OK

    run_with_client(service, send)


@feedback.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@service_options
def remove(ids: tuple[str, ...], service: ServiceOptions) -> None:
    """Remove the entries ID...; the last entry about a file takes the file with it."""

    async def remove_all(client: AsyncClient) -> int:
        async def drop(id: str) -> str:
            await client.remove_feedback(id)
            return "removed"

        return await apply(ids, drop)

    run_with_client(service, remove_all)


@feedback.command()
@click.argument("folder", type=FOLDER)
@click.option("--format", "file_format", type=click.Choice(list(FORMATS)), required=True, help="Format to write.")
@click.option("--model", help="Only entries about this model.")
@click.option(
    "--media-url",
    default=f"{MEDIA}/",
    help="What stands before a file's name in Label Studio's tasks, for example /data/local-files/?d=media/.",
)
@service_options
def export(folder: Path, file_format: str, model: str | None, media_url: str, service: ServiceOptions) -> None:
    """Write all feedback, and its files, into FOLDER for Label Studio or FiftyOne."""

    async def write(client: AsyncClient) -> int:
        entries = [entry async for entry in client.feedback(model=model)]
        if file_format == "fiftyone":
            entries = [entry for entry in entries if entry.labels]
        if not entries:
            error_console().print(Text("there is nothing to export", "dim"))
            return OK
        (folder / MEDIA).mkdir(parents=True, exist_ok=True)
        for name, entry in {media_name(entry): entry for entry in entries}.items():
            await _download(client, entry, folder / MEDIA / name)
        written = (
            fiftyone.write(entries, folder)
            if file_format == "fiftyone"
            else label_studio.write(entries, folder, media_url)
        )
        for path in written:
            console_on(sys.stdout).print(Text(plain(str(path))))
        return OK

    run_with_client(service, write)


async def _download(client: AsyncClient, entry: Feedback, target: Path) -> None:
    """Fetch a file, unless it is there already; a partial file never has the name."""
    if target.exists() and target.stat().st_size == entry.bytes:
        return
    partial = target.with_name(f".{target.name}.part")
    try:
        with partial.open("wb") as file:
            await client.download_feedback(entry.id, file)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@feedback.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--format", "file_format", type=click.Choice(list(FORMATS)), required=True, help="Format to read.")
@click.option("--model", help="Model that the labels are for.  [default: what the export says, or the service's]")
@service_options
def import_(folder: Path, file_format: str, model: str | None, service: ServiceOptions) -> None:
    """Give the service the labels and files of FOLDER; those that it has already are replaced."""
    try:
        parts = FORMATS[file_format](folder)
    except InvalidExport as error:
        raise click.ClickException(str(error)) from error

    async def send(client: AsyncClient) -> int:
        code, given = OK, 0
        for part in parts:
            try:
                await client.give_feedback(
                    part.file,
                    labels=part.labels,
                    model=model or part.model,
                    start_s=part.start_s,
                    end_s=part.end_s,
                )
                given += 1
            except (ClipstackError, OSError) as error:
                code = max(code, print_error(str(part.file), error))
        console_on(sys.stdout).print(Text(f"{given} of {len(parts)} labels given"))
        return code

    run_with_client(service, send)
