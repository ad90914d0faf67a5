"""Command `clipstack timeline`: make timelines of many videos."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from ..async_client import AsyncClient
from ..jobs import Job
from ..reduction.uploader import Reduction
from .inputs import File, expand
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
from .output.export import FORMATS, Exports, format_of_name
from .output.formatting import plain
from .output.progress import Line, ProgressLines
from .output.report import OutputTarget, error_console
from .runner import Outcome, each, run

TOP_K = 5


class TimelineOptions:
    """Parameters of every timeline request, and whether to wait for the result."""

    def __init__(self, reduce: Reduction, detach: bool, **parameters: str | float | int | None) -> None:
        self._reduce, self._detach, self._parameters = reduce, detach, parameters

    async def ask(self, client: AsyncClient, file: File, line: Line) -> Job:
        """Return the finished job of one video, or with `detach` the job that has only started."""
        parameters = {**self._parameters, "reduce": self._reduce, "progress": line.upload}
        if self._detach:
            return await client.submit(file.path, **parameters)  # type: ignore[arg-type]
        return await client.timeline(file.path, **parameters, watch=line.job)  # type: ignore[arg-type]


@click.command(cls=WithShrink, short_help="Follow what happens in videos from start to end.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--model", help="Model to ask; the service's default when left out.")
@click.option("--hop", type=click.FloatRange(min=0, min_open=True), help="Seconds from one window to the next.")
@click.option("--window", type=click.FloatRange(min=0, min_open=True), help="Seconds that a window spans.")
@click.option("--margin", type=click.FloatRange(0, 1), help="How far ahead another label must be to take over.")
@click.option("--format", type=click.Choice(FORMATS), help="Write the timeline of each video as such a file.")
@click.option("--detach", is_flag=True, help="Do not wait: print the jobs, which go on without you.")
@bulk_options
@reduction_options(frames=False)
@output_options
@service_options
@click.pass_context
def timeline(
    context: click.Context,
    files: tuple[str, ...],
    model: str | None,
    hop: float | None,
    window: float | None,
    margin: float | None,
    format: str | None,
    detach: bool,
    concurrency: int,
    shrink: str | None,
    rate: float | None,
    output: str | None,
    as_json: bool,
    save: Path | None,
    resume: bool,
    url: str,
    timeout: float,
    patience: float,
) -> None:
    """Follow what happens in each FILE from start to end: a video, a folder, or a quoted pattern.

    \b
    clipstack timeline film.mp4                 a table
    clipstack timeline film.mp4 -o film.vtt     subtitles; .svg, .png, .json too
    clipstack timeline films -o films.jsonl     a line of JSON for each film
    clipstack timeline films -o films.csv       a row for each segment
    clipstack timeline films --format svg -o d  a picture for each, in a folder d
    """
    selected = expand(files)
    if any(file.path == "-" for file in selected):
        raise click.UsageError("a timeline needs a file: it is sent again when the service was busy")
    format = format or (None if output or as_json else format_of_name(save))
    if detach and resume:
        raise click.UsageError("a job that has only begun is no answer to go on with: --detach and --resume")
    if format and (output or as_json or resume or detach):
        raise click.UsageError("--format goes with none of --output, --json, --resume and --detach")
    exports = Exports.told(format, save, selected) if format else None
    target = OutputTarget.told("timeline", output, as_json, None if exports else save, resume, TOP_K, model)
    timeline_options = TimelineOptions(
        reduction_of(shrink), detach, model=model, hop_s=hop, window_s=window, margin=margin
    )
    todo = target.todo(selected)

    async def work() -> int:
        err, apart = error_console(), len(selected) > 1
        lines, skipped = ProgressLines(err, len(todo)), len(selected) - len(todo)
        async with connected(url, timeout, patience, rate) as client:

            async def ask(file: File) -> Job:
                with lines.line(file.shown) as line:
                    job = await timeline_options.ask(client, file, line)
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
                await run(ask, each(todo), concurrency, show, in_order=save is None)
        return report.code

    context.exit(finish(work()))
