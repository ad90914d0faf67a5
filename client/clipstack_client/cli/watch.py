"""Command `clipstack watch`: classify, or make timelines of, new files in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from ..async_client import AsyncClient
from ..errors import ServiceUnavailable, ServiceUnreachable
from ..jobs import Job
from ..models import Result
from .folder_watcher import FolderWatcher
from .inputs import File
from .options import (
    WithShrink,
    bulk_options,
    connected,
    finish,
    output_options,
    reduction_of,
    reduction_options,
    service_options,
)
from .output.progress import Line, ProgressLines
from .output.report import OutputTarget, error_console
from .runner import run
from .timeline import TimelineOptions

TOP_K = 5
AWAY_S = 3.0  # pause between retries while the service is away

Ask = Callable[[AsyncClient, File, Line], Awaitable[Result | Job]]


@click.command(cls=WithShrink, short_help="Classify what is in a folder, or comes into it.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--timeline", is_flag=True, help="Follow videos from start to end, instead of classifying them.")
@click.option("--model", help="Model to ask; the service's default when left out.")
@click.option(
    "--every", type=click.FloatRange(min=0.05), default=1.0, show_default=True, help="Seconds from look to look."
)
@click.option(
    "--settle", type=click.FloatRange(min=0), default=2.0, show_default=True,
    help="Seconds that a file must stay as it is before it counts as whole.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="End when all that is there is done.")
@bulk_options
@reduction_options(frames=True)
@output_options
@service_options
@click.pass_context
def watch(
    context: click.Context,
    folder: str,
    timeline: bool,
    model: str | None,
    every: float,
    settle: float,
    once: bool,
    concurrency: int,
    shrink: str | None,
    frames: bool,
    rate: float | None,
    output: str | None,
    as_json: bool,
    save: Path | None,
    resume: bool,
    url: str,
    timeout: float,
    patience: float,
) -> None:
    """Send every video and picture that is in FOLDER, or comes into it, once it has stopped growing.

    With `-o seen.jsonl --resume` a restart repeats nothing: what is in that file with its length and time is done.
    While the service is away files wait, but for those of --once.
    """
    if timeline and frames:
        raise click.UsageError("a timeline looks at all frames of a video: --frames is for classifying")
    kind = "timeline" if timeline else "classify"
    target = OutputTarget.told(kind, output, as_json, save, resume, TOP_K, model)
    seen = target.seen()
    watcher = FolderWatcher(folder, seen, every_s=every, settle_s=settle)
    reduce = reduction_of(shrink, frames)
    timeline_options = TimelineOptions(reduce, False, model=model)

    async def ask(client: AsyncClient, file: File, line: Line) -> Result | Job:
        if timeline:
            return await timeline_options.ask(client, file, line)
        return await client.classify(file.path, model=model, top_k=TOP_K, reduce=reduce, progress=line.upload)

    async def work() -> int:
        err = error_console()
        lines = ProgressLines(err, None, idle=f"watching {folder}")
        async with connected(url, timeout, patience, rate) as client:

            async def one(file: File) -> Result | Job:
                with lines.line(file.shown) as line:
                    return await (ask if once else _patiently(ask))(client, file, line)

            verb = "looked through" if timeline else "classified"
            with target.report(lines, err, verb, apart=True) as report:
                await run(one, watcher.files(once=once), concurrency, report.show, in_order=False)
        return report.code

    context.exit(finish(work()))


def _patiently(ask: Ask) -> Ask:
    """Return a function that repeats `ask` while the service is away."""

    async def asked(client: AsyncClient, file: File, line: Line) -> Result | Job:
        while True:
            try:
                return await ask(client, file, line)
            except (ServiceUnavailable, ServiceUnreachable) as error:
                line.note(f"{error.message}: trying again")
                await asyncio.sleep(AWAY_S)

    return asked
