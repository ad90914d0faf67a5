"""Command `clipstack classify`: classify many files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..models import Result
from ..upload import Source
from .inputs import STANDARD_INPUT, File, expand
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
from .output.progress import ProgressLines
from .output.report import OutputTarget, error_console
from .runner import each, run


@click.command(cls=WithShrink, short_help="Say what is in videos and pictures.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--model", help="Model to ask; the service's default when left out.")
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Labels to show.")
@click.option("--clips", type=click.IntRange(min=1), help="Clips to look at, spread over the video.")
@click.option("--sampling", type=click.Choice(["exact", "keyframe"]), help="Where clips begin; keyframe is quicker.")
@bulk_options
@reduction_options(frames=True)
@output_options
@service_options
@click.pass_context
def classify(
    context: click.Context,
    files: tuple[str, ...],
    model: str | None,
    top_k: int,
    clips: int | None,
    sampling: str | None,
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
    """Say what is in each FILE: a video, a picture, a folder, a quoted pattern, or - for standard input."""
    reduce = reduction_of(shrink, frames)
    target = OutputTarget.told("classify", output, as_json, save, resume, top_k, model)
    selected = expand(files)
    todo = target.todo(selected)

    async def work() -> int:
        err, apart = error_console(), len(selected) > 1
        lines, skipped = ProgressLines(err, len(todo)), len(selected) - len(todo)
        async with connected(url, timeout, patience, rate) as client:

            async def ask(file: File) -> Result:
                with lines.line(file.shown) as line:
                    source: Source = sys.stdin.buffer if file.path == STANDARD_INPUT else file.path
                    return await client.classify(
                        source, model=model, top_k=top_k, clips=clips, sampling=sampling, reduce=reduce,
                        progress=line.upload,
                    )  # fmt: skip

            with target.report(lines, err, "classified", apart=apart, skipped=skipped) as report:
                # Into a file as they come: its order does not matter, and written answers are safe.
                await run(ask, each(todo), concurrency, report.show, in_order=save is None)
        return report.code

    context.exit(finish(work()))
