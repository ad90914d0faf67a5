"""Command `clipstack classify`: classify many files."""

import sys

import click

from ..http.upload import Source
from ..models import Result
from .inputs import STANDARD_INPUT, File, expand
from .options.commands import ShrinkCommand
from .options.connection import connect
from .options.shared import SelectionOptions, SendingOptions, selection_options, sending_options
from .output.progress import ProgressLines
from .output.report import OutputTarget, error_console
from .runner import iterate, run, run_command


@click.command(cls=ShrinkCommand, short_help="Say what is in videos and pictures.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(readable=False))
@click.option("--model", help="Name of the model.  [default: the service's]")
@click.option("--top-k", type=click.IntRange(min=1), default=5, help="Number of labels to show.")
@click.option("--clips", type=click.IntRange(min=1), help="Number of clips, spread over the video.")
@click.option(
    "--sampling", type=click.Choice(["exact", "auto", "keyframe"]), help="Placement of the clips; keyframe is faster."
)
@click.option("--embedding", is_flag=True, help="Write the model's vector of each file too; needs --json.")
@selection_options
@sending_options(frames=True)
def classify(
    files: tuple[str, ...],
    model: str | None,
    top_k: int,
    clips: int | None,
    sampling: str | None,
    embedding: bool,
    selection: SelectionOptions,
    sending: SendingOptions,
) -> None:
    """Say what is in each FILE: a video, a picture, a folder, a quoted pattern, an https:// address, or - for stdin."""
    reduce = sending.reduction.reduction
    target = OutputTarget.from_options("classify", sending.output, top_k, model, decides=selection.is_used)
    if embedding and target.format != "jsonl":
        raise click.UsageError("--embedding needs JSON lines: add --json, or -o answers.jsonl")
    selected = expand(files)
    unfinished = target.unfinished(selected)

    async def work() -> int:
        err, skipped = error_console(), len(selected) - len(unfinished)
        lines = ProgressLines(err, len(unfinished), quiet=sending.output.quiet)
        names = [file.shown for file in selected]
        async with connect(sending.service, sending.reduction.rate) as client:

            async def ask(file: File) -> Result:
                with lines.line(file.shown) as line:
                    source: Source = sys.stdin.buffer if file.path == STANDARD_INPUT else file.path
                    return await client.classify(
                        source,
                        model=model,
                        top_k=top_k,
                        clips=clips,
                        sampling=sampling,
                        **vars(selection),
                        embedding=embedding,
                        reduce=reduce,
                        progress=line.show,
                    )

            with target.report(lines, err, "classified", names=names, skipped=skipped) as report:
                # A file gets answers as they come: its order does not matter, and written answers are safe
                in_order = sending.output.path is None
                await run(ask, iterate(unfinished), sending.concurrency, report.show, in_order=in_order)
        return report.code

    run_command(work())
