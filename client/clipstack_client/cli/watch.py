"""Command `clipstack watch`: classify, or make timelines of, new files in a folder."""

import asyncio
from collections.abc import Awaitable, Callable

import click

from ..async_client import AsyncClient
from ..errors import ServiceUnavailable, ServiceUnreachable
from ..jobs import Job
from ..models import Result
from .folder_watcher import FolderWatcher
from .inputs import File
from .options.commands import ShrinkCommand
from .options.connection import connect
from .options.shared import SelectionOptions, SendingOptions, selection_options, sending_options
from .output.progress import Line, ProgressLines
from .output.report import OutputTarget, error_console
from .runner import run, run_command
from .timeline import TimelineRequest

TOP_K = 5
RETRY_DELAY_S = 3.0

Ask = Callable[[AsyncClient, File, Line], Awaitable[Result | Job]]


@click.command(cls=ShrinkCommand, short_help="Classify the files of a folder, and new ones as they arrive.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--timeline", is_flag=True, help="Make timelines of videos instead of classifying them.")
@click.option("--model", help="Name of the model.  [default: the service's]")
@click.option(
    "--every", "every_s", type=click.FloatRange(min=0.05), default=1.0, help="Seconds between scans of the folder."
)
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(min=0),
    default=2.0,
    help="Seconds that a file must stay unchanged before it is sent.",
)
@click.option("--once", is_flag=True, help="End once the present files are done.")
@selection_options
@sending_options(frames=True)
def watch(
    folder: str,
    timeline: bool,
    model: str | None,
    every_s: float,
    settle_s: float,
    once: bool,
    selection: SelectionOptions,
    sending: SendingOptions,
) -> None:
    """Send every video and picture in FOLDER, and new ones as they arrive, once they have stopped growing.

    With `-o answers.jsonl --resume` a restart repeats nothing: files with an answer there are skipped. While the
    service is away files wait; with --once they fail.
    """
    if timeline and sending.reduction.frames:
        raise click.UsageError("--timeline and --frames exclude each other: a timeline uses all frames of a video")
    reduce = sending.reduction.reduction
    kind = "timeline" if timeline else "classify"
    target = OutputTarget.from_options(kind, sending.output, TOP_K, model, decides=selection.is_used)
    watcher = FolderWatcher(folder, target.finished(), every_s=every_s, settle_s=settle_s)
    request = TimelineRequest(reduce, False, model=model, **vars(selection))

    async def ask(client: AsyncClient, file: File, line: Line) -> Result | Job:
        if timeline:
            return await request.send(client, file, line)
        options = {"model": model, "top_k": TOP_K, **vars(selection)}
        return await client.classify(file.path, **options, reduce=reduce, progress=line.show)

    async def work() -> int:
        err = error_console()
        lines = ProgressLines(err, None, idle=f"watching {folder}", quiet=sending.output.quiet)
        async with connect(sending.service, sending.reduction.rate) as client:

            async def process(file: File) -> Result | Job:
                with lines.line(file.shown) as line:
                    return await (ask if once else _with_retries(ask))(client, file, line)

            verb = "analysed" if timeline else "classified"
            with target.report(lines, err, verb, names=None) as report:
                await run(process, watcher.files(once=once), sending.concurrency, report.show, in_order=False)
        return report.code

    run_command(work())


def _with_retries(ask: Ask) -> Ask:
    """Return a function that repeats `ask` while the service is away."""

    async def repeat(client: AsyncClient, file: File, line: Line) -> Result | Job:
        while True:
            try:
                return await ask(client, file, line)
            except (ServiceUnavailable, ServiceUnreachable) as error:
                line.show(f"{error.message}: retrying")
                await asyncio.sleep(RETRY_DELAY_S)

    return repeat
