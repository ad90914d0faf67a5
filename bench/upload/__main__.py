"""Measure sending whole videos against sending less: `--shrink`, `--frames`, and what `--shrink auto` makes of it.

python -m bench.upload [FILE]... [-o bench/results/upload.json]
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from bench.fixtures.videos import write_film
from bench.upload import measure, page
from bench.upload.link import WORDS, Kind, best_kind
from clipstack_client import ClipstackError
from clipstack_client.cli.inputs import expand
from clipstack_client.cli.options.connection import SHOWN_URL, default_url

FILMS = (
    ("made_10s_h264.mp4", 10, "libx264"),
    ("made_10s_hevc.mp4", 10, "libx265"),
    ("made_10s_vp9.mp4", 10, "libvpx-vp9"),
    ("made_60s_h264.mp4", 60, "libx264"),
)
CAMERA = {"g": "30", "bf": "0"}  # key frames each second, as phones and cameras write them
# Fast options of the encoders, and bits per second that phones and cameras record at 1920x1080
OPTIONS = {
    "libx264": {"preset": "superfast", "b": "8M", **CAMERA},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none", "b": "5M", **CAMERA},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "5M", **CAMERA},
}
LINKS: dict[str, Kind] = {"as-it-is": "as it is", "netns": "netns", "simulated": "simulated"}


def _rates(context: click.Context, parameter: click.Parameter, value: str) -> list[float]:
    try:
        rates = [float(word) for word in value.split(",")]
    except ValueError:
        rates = []
    if not rates or min(rates) <= 0:
        raise click.BadParameter("rates look like 10,100,1000")
    return rates


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--rates", default="10,100,1000", show_default=True, callback=_rates, help="Upload rates in Mbit/s.")
@click.option(
    "--link",
    type=click.Choice(["auto", *LINKS]),
    default="auto",
    show_default=True,
    help="netns: shaped by the kernel, as root; simulated: by a relay; as-it-is: no rate at all.",
)
@click.option("--model", help="Name of the model.  [default: the service's]")
@click.option("--times", type=click.IntRange(1, 100), default=3, show_default=True, help="Repetitions of each.")
@click.option("--made/--no-made", default=True, show_default=True, help="Also measure 1920x1080 films made here.")
@click.option("-o", "--save", "path", type=click.Path(path_type=Path), metavar="FILE", help="Write the JSON to FILE.")
@click.option("--url", envvar="CLIPSTACK_URL", show_envvar=True, default=default_url, show_default=SHOWN_URL)
def main(
    files: tuple[str, ...],
    rates: list[float],
    link: str,
    model: str | None,
    times: int,
    made: bool,
    path: Path | None,
    url: str,
) -> None:
    """Measure sending whole videos against sending less: --shrink, --frames and --shrink auto."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise click.UsageError("the benchmark measures over http://HOST:PORT alone")
    paths = [Path(file.path) for file in expand(files)] if files else []
    if not paths and not made:
        raise click.UsageError("there is nothing to measure: name a file, or leave out --no-made")
    kind = best_kind() if link == "auto" else LINKS[link]
    service = (parts.hostname, parts.port or 80)
    shaped = [None] if kind == "as it is" else rates

    async def run(folder: Path) -> dict[str, Any]:
        runs: list[measure.Runs] = []
        for name, seconds, codec in FILMS if made else ():
            print(f"filming {name}", file=sys.stderr)
            paths.append(write_film(folder / name, 1920, 1080, 30, seconds, codec, OPTIONS[codec]))
        print(f"measuring over {WORDS[kind]}", file=sys.stderr)
        plan = measure.Plan(service, paths, kind, shaped, times, model)
        async for file, mbit, measured in measure.measure(plan):
            runs.append((file, mbit, measured))
            print(f"{len(runs)} of {len(paths) * len(shaped)} measured: {file.name}", file=sys.stderr)
            if path is not None:
                path.write_text(json.dumps(measure.results(kind, runs), indent=1) + "\n")
        return measure.results(kind, runs)

    try:
        with tempfile.TemporaryDirectory(prefix="clipstack-bench-") as folder:
            results = asyncio.run(run(Path(folder)))
    except ClipstackError as error:
        raise click.ClickException(error.message) from error
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"the link cannot be made here: {error}") from error
    print(page.table(results), page.answers(results), sep="\n", end="")


if __name__ == "__main__":
    main(prog_name="python -m bench.upload")
