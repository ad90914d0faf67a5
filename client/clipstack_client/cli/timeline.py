"""Command `clipstack timeline`: make timelines of many videos."""

import asyncio
from dataclasses import replace

import click
from rich.text import Text

from ..async_client import AsyncClient
from ..jobs import Job
from ..reduction.uploader import Reduction
from .inputs import STANDARD_INPUT, File, expand
from .options.commands import ShrinkCommand
from .options.connection import POSITIVE, connect
from .options.shared import (
    ANSWER_FORMATS,
    OutputOptions,
    SelectionOptions,
    SendingOptions,
    selection_options,
    sending_options,
)
from .output.export import FORMATS, Exports
from .output.formats import choose_format
from .output.formatting import plain
from .output.progress import Line, ProgressLines
from .output.report import OutputTarget, error_console
from .runner import Outcome, iterate, run, run_command

TOP_K = 5


class TimelineRequest:
    """Parameters of every timeline, and whether to wait for the result."""

    def __init__(self, reduce: Reduction, detach: bool, **parameters: str | float | int | bool | None) -> None:
        self._reduce, self._detach, self._parameters = reduce, detach, parameters

    async def send(self, client: AsyncClient, file: File, line: Line) -> Job:
        """Return the finished job of one video, or with `detach` the job that has only started."""
        parameters = {**self._parameters, "reduce": self._reduce, "progress": line.show}
        if self._detach:
            return await client.submit(file.path, **parameters)  # type: ignore[arg-type]
        return await client.timeline(file.path, **parameters, watch=line.show)  # type: ignore[arg-type]


@click.command(cls=ShrinkCommand, short_help="Label videos from start to end.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(readable=False))
@click.option("--model", help="Name of the model.  [default: the service's]")
@click.option("--hop", "hop_s", type=POSITIVE, help="Seconds from one window to the next.")
@click.option("--window", "window_s", type=POSITIVE, help="Length of a window in seconds.")
@click.option("--margin", type=click.FloatRange(0, 1), help="Lead that another label needs to take over.")
@click.option(
    "--embedding", is_flag=True, help="Keep an embedding of each window, so that `clipstack search` finds it."
)
@click.option("--callback-url", metavar="URL", help="Receiver of webhooks about the job.")
@click.option("--detach", is_flag=True, help="Do not wait: print the jobs, which the service continues.")
@selection_options
@sending_options(frames=False, formats=(*ANSWER_FORMATS, *FORMATS))
def timeline(
    files: tuple[str, ...],
    detach: bool,
    selection: SelectionOptions,
    sending: SendingOptions,
    **parameters: str | float | bool | None,
) -> None:
    """Label each FILE from start to end: a video, a folder, a quoted pattern, or an https:// address.

    \b
    clipstack timeline film.mp4                 a coloured timeline
    clipstack timeline film.mp4 -o film.vtt     subtitles; .svg, .png, .json too
    clipstack timeline films -o films.jsonl     a line of JSON for each film
    clipstack timeline films -o films.csv       a row for each segment
    clipstack timeline films --format svg -o d  a picture for each, in a folder d
    """
    selected = expand(files)
    if any(file.path == STANDARD_INPUT for file in selected):
        raise click.UsageError("a timeline needs a file, because it may be sent again: standard input is not possible")
    exports = _plan_exports(detach, sending.output, selected)
    model = parameters["model"]
    destination = sending.output if exports is None else replace(sending.output, path=None, format=None)
    target = OutputTarget.from_options("timeline", destination, TOP_K, None if model is None else str(model))
    request = TimelineRequest(sending.reduction.reduction, detach, **parameters, **vars(selection))
    unfinished = target.unfinished(selected)

    async def work() -> int:
        err, skipped = error_console(), len(selected) - len(unfinished)
        lines = ProgressLines(err, len(unfinished), quiet=sending.output.quiet)
        names = [file.shown for file in selected]
        async with connect(sending.service, sending.reduction.rate) as client:

            async def submit(file: File) -> Job:
                with lines.line(file.shown) as line:
                    job = await request.send(client, file, line)
                    if exports is not None:
                        await exports.fetch(client, file, job.id)
                    return job

            def show(outcome: Outcome) -> None:
                path = exports.targets[outcome.file.path] if exports and outcome.answer else None
                if path is not None and not sending.output.quiet:
                    with lines.hidden():
                        err.print(Text(plain(f"{outcome.file.shown} → {path}"), "dim"))
                report.show(outcome, only_errors=exports is not None)

            verb = "submitted" if detach else "analysed"
            with target.report(lines, err, verb, names=names, skipped=skipped) as report:
                try:
                    await run(submit, iterate(unfinished), sending.concurrency, show, in_order=destination.path is None)
                except asyncio.CancelledError:
                    err.print(Text("interrupted: the unfinished jobs of this command are cancelled", "yellow"))
                    raise
        return report.code

    run_command(work())


def _plan_exports(detach: bool, output: OutputOptions, files: list[File]) -> Exports | None:
    """Return the exports that the options select, if any; raise click.UsageError if the options conflict."""
    if detach and output.resume:
        raise click.UsageError("--detach and --resume exclude each other: a job that has only started has no answer")
    if output.as_json:
        return None
    format = choose_format(output.format, output.path, (*ANSWER_FORMATS, *FORMATS))
    if format in ANSWER_FORMATS:
        return None
    if output.resume or detach:
        raise click.UsageError(f"{format} files exclude --resume and --detach")
    return Exports.plan(format, output.path, files, force=output.force)
