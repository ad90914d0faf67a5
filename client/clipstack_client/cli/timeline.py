"""Command `clipstack timeline`: make timelines of many videos."""

from __future__ import annotations

import click
from rich.text import Text

from ..async_client import AsyncClient
from ..jobs import Job
from ..reduction.uploader import Reduction
from .inputs import STANDARD_INPUT, File, expand
from .options import (
    POSITIVE,
    OutputOptions,
    SelectionOptions,
    SendingOptions,
    ShrinkCommand,
    connect,
    selection_options,
    sending_options,
)
from .output.export import FORMATS, Exports, format_of_name
from .output.formatting import plain
from .output.progress import Line, ProgressLines
from .output.report import OutputTarget, error_console
from .runner import Outcome, iterate, run, run_command

TOP_K = 5


class TimelineRequest:
    """Parameters of every timeline, and whether to wait for the result."""

    def __init__(self, reduce: Reduction, detach: bool, **parameters: str | float | int | None) -> None:
        self._reduce, self._detach, self._parameters = reduce, detach, parameters

    async def send(self, client: AsyncClient, file: File, line: Line) -> Job:
        """Return the finished job of one video, or with `detach` the job that has only started."""
        parameters = {**self._parameters, "reduce": self._reduce, "progress": line.upload}
        if self._detach:
            return await client.submit(file.path, **parameters)  # type: ignore[arg-type]
        return await client.timeline(file.path, **parameters, watch=line.job)  # type: ignore[arg-type]


@click.command(cls=ShrinkCommand, short_help="Label videos from start to end.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(readable=False))
@click.option("--model", help="Name of the model.  [default: the service's]")
@click.option("--hop", "hop_s", type=POSITIVE, help="Seconds from one window to the next.")
@click.option("--window", "window_s", type=POSITIVE, help="Length of a window in seconds.")
@click.option("--margin", type=click.FloatRange(0, 1), help="Lead that another label needs to take over.")
@click.option("--format", type=click.Choice(FORMATS), help="Write the timeline of each video as a file in this format.")
@click.option("--detach", is_flag=True, help="Do not wait: print the jobs, which the service continues.")
@selection_options
@sending_options(frames=False)
def timeline(
    files: tuple[str, ...],
    format: str | None,
    detach: bool,
    selection: SelectionOptions,
    sending: SendingOptions,
    **parameters: str | float | None,
) -> None:
    """Label each FILE from start to end: a video, a folder, or a quoted pattern.

    \b
    clipstack timeline film.mp4                 a table
    clipstack timeline film.mp4 -o film.vtt     subtitles; .svg, .png, .json too
    clipstack timeline films -o films.jsonl     a line of JSON for each film
    clipstack timeline films -o films.csv       a row for each segment
    clipstack timeline films --format svg -o d  a picture for each, in a folder d
    """
    selected = expand(files)
    if any(file.path == STANDARD_INPUT for file in selected):
        raise click.UsageError("a timeline needs a file, because it may be sent again: standard input is not possible")
    exports = _plan_exports(format, detach, sending.output, selected)
    model = parameters["model"]
    destination = sending.output if exports is None else OutputOptions(None, False, None, False)
    target = OutputTarget.from_options("timeline", destination, TOP_K, None if model is None else str(model))
    request = TimelineRequest(sending.reduction.reduction, detach, **parameters, **vars(selection))
    unfinished = target.unfinished(selected)

    async def work() -> int:
        err, apart = error_console(), len(selected) > 1
        lines, skipped = ProgressLines(err, len(unfinished)), len(selected) - len(unfinished)
        async with connect(sending.service, sending.reduction.rate) as client:

            async def submit(file: File) -> Job:
                with lines.line(file.shown) as line:
                    job = await request.send(client, file, line)
                    if exports is not None:
                        await exports.fetch(client, file, job.id)
                    return job

            def show(outcome: Outcome) -> None:
                path = exports.targets[outcome.file.path] if exports and outcome.answer else None
                if path is not None:
                    with lines.hidden():
                        err.print(Text(plain(f"{outcome.file.shown} → {path}"), "dim"))
                report.show(outcome, quiet=exports is not None)

            verb = "begun" if detach else "looked through"
            with target.report(lines, err, verb, apart=apart, skipped=skipped) as report:
                await run(submit, iterate(unfinished), sending.concurrency, show, in_order=sending.output.save is None)
        return report.code

    run_command(work())


def _plan_exports(format: str | None, detach: bool, output: OutputOptions, files: list[File]) -> Exports | None:
    """Return the exports that the options select, if any; raise click.UsageError if the options conflict."""
    if detach and output.resume:
        raise click.UsageError("--detach and --resume exclude each other: a job that has only started has no answer")
    selects_answers = bool(output.output or output.as_json)
    format = format or (None if selects_answers else format_of_name(output.save))
    if format is None:
        return None
    if selects_answers or output.resume or detach:
        raise click.UsageError("--format excludes --output, --json, --resume and --detach")
    return Exports.plan(format, output.save, files)
