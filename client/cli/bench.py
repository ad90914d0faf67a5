"""Command `clipstack bench`: what smaller uploads save on this machine and this link."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from client.bench.link import WORDS, Kind, best_kind
from client.cli.bench_output import bench_table
from client.cli.inputs import found
from client.cli.options import SHOWN_URL, default_url, finish
from client.cli.output.formats import console_on, save
from client.cli.output.progress import ProgressLines
from client.cli.output.records import FINE, SERVICE
from client.cli.output.report import error_console
from client.cli.output.tables import error_block
from client.errors import ClipstackError, ReductionUnavailable
from client.loop_thread import in_thread

MADE = (
    ("made_10s_h264.mp4", 10, "libx264"),
    ("made_10s_hevc.mp4", 10, "libx265"),
    ("made_10s_vp9.mp4", 10, "libvpx-vp9"),
    ("made_60s_h264.mp4", 60, "libx264"),
)
LINKS: dict[str, Kind] = {"as-it-is": "as it is", "netns": "netns", "simulated": "simulated"}


@click.group()
def bench() -> None:
    """Measure the service as a client sees it."""


def _rates(context: click.Context, parameter: click.Parameter, value: str) -> list[float]:
    try:
        rates = [float(word) for word in value.split(",")]
    except ValueError:
        rates = []
    if not rates or min(rates) <= 0:
        raise click.BadParameter("rates look like 10,100,1000")
    return rates


@bench.command(short_help="Whole videos against --shrink and --frames.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--rates", default="10,100,1000", show_default=True, callback=_rates, help="Upload rates in Mbit/s.")
@click.option(
    "--link",
    type=click.Choice(["auto", *LINKS]),
    default="auto",
    show_default=True,
    help="netns: shaped by the kernel, as root; simulated: by a relay; as-it-is: no rate at all.",
)
@click.option("--model", help="Model to ask; the service's default when left out.")
@click.option("--times", type=click.IntRange(1, 100), default=3, show_default=True, help="Times to measure each.")
@click.option(
    "--made/--no-made",
    default=True,
    show_default=True,
    help="Measure films of 1920x1080, too, which are made first: that takes minutes.",
)
@click.option("-o", "--save", "path", type=click.Path(path_type=Path), metavar="FILE", help="Write it all as JSON.")
@click.option(
    "--url",
    envvar="CLIPSTACK_URL",
    show_envvar=True,
    default=default_url,
    show_default=SHOWN_URL,
    help="Address of the service.",
)
@click.pass_context
def upload(
    context: click.Context,
    files: tuple[str, ...],
    rates: list[float],
    link: str,
    model: str | None,
    times: int,
    made: bool,
    path: Path | None,
    url: str,
) -> None:
    """Measure sending whole videos against sending less: --shrink, --frames, and what --shrink auto makes of it."""
    try:
        from client.bench import films
        from client.bench import upload as measuring
    except ImportError as error:
        raise click.UsageError(ReductionUnavailable().message) from error
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise click.UsageError("the bench measures over http://HOST:PORT alone")
    paths = [Path(file.path) for file in found(files)] if files else []
    if not paths and not made:
        raise click.UsageError("there is nothing to measure: name a file, or leave out --no-made")
    kind = best_kind() if link == "auto" else LINKS[link]
    service = (parts.hostname, parts.port or 80)

    async def work() -> int:
        err, out = error_console(), console_on(sys.stdout)
        runs: list[tuple[Path, float | None, list[dict[str, Any]]]] = []
        with (
            tempfile.TemporaryDirectory(prefix="clipstack-bench-") as folder,
            ProgressLines(err) as lines,
            lines.line("") as line,
        ):
            for name, seconds, codec in MADE if made else ():
                line.note(f"filming {name}")
                paths.append(await in_thread(films.film, Path(folder, name), seconds, codec))
            line.note(f"measuring over {WORDS[kind]}")
            try:
                shaped = [None] if kind == "as it is" else rates
                async for file, mbit, measured in measuring.measure(service, paths, kind, shaped, times, model):
                    runs.append((file, mbit, measured))
                    line.note(f"{len(runs)} of {len(paths) * len(shaped)} measured, {file.name} last")
                    if path is not None:
                        save(path, (json.dumps(measuring.results(kind, runs), indent=1) + "\n").encode())
            except (ClipstackError, subprocess.CalledProcessError) as error:
                if isinstance(error, subprocess.CalledProcessError):
                    shown_error = ClipstackError(f"no such link can be made here: {error}", code="no_link")
                else:
                    shown_error = error
                with lines.hidden():
                    err.print(error_block(None, shown_error))
                return SERVICE
        out.print(bench_table(measuring.results(kind, runs)))
        return FINE

    context.exit(finish(work()))
