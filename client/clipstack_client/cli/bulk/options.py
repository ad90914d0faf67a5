"""Options of `clipstack bulk`."""

import re
from dataclasses import dataclass

import click

from ...bulk.formats import FORMATS
from ...bulk.request import TOP_K, BulkRequest, Limits
from ..options.bundle import bundle
from ..options.connection import POSITIVE

MAX_CONCURRENCY = 64
SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class RunOptions:
    """Results, engine and estimate; `shard` is a number and the number of all, `price` that of a machine's hour."""

    results: str
    format: str
    engine: str
    part_files: int
    shard: tuple[int, int]
    keep_list: bool
    dry_run: bool
    sample_size: int
    price: float | None
    ray_address: str
    quiet: bool


def _shard(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    match = SHARD.fullmatch(value)
    shard, shards = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= shard <= shards:
        raise click.BadParameter(f"{value!r} is no shard: write 1/4 for the first of four")
    return shard, shards


request_options = bundle(
    "request",
    BulkRequest,
    click.option("--timeline", is_flag=True, help="Label videos from start to end; pictures are classified."),
    click.option("--model", help="Name of the model.  [default: the service's]"),
    click.option("--top-k", type=click.IntRange(min=1), default=TOP_K, help="Labels of a file."),
    click.option("--clips", type=click.IntRange(min=1), help="Number of clips, spread over the video."),
    click.option("--sampling", type=click.Choice(["exact", "auto", "keyframe"]), help="Placement of the clips."),
    click.option("--hop", "hop_s", type=POSITIVE, help="With --timeline: seconds from one window to the next."),
    click.option("--window", "window_s", type=POSITIVE, help="With --timeline: length of a window in seconds."),
    click.option("--embedding", is_flag=True, help="Write the model's vector of each file too."),
)

run_options = bundle(
    "run",
    RunOptions,
    click.option(
        "--to",
        "results",
        metavar="RESULTS",
        required=True,
        help="Folder of the results: a path, or s3://bucket/folder; gs:// and az:// too.",
    ),
    click.option("--format", type=click.Choice(FORMATS), default="parquet", help="Their format."),
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        help="local: this process sends the files; ray: the nodes of a Ray cluster do.",
    ),
    click.option("--part-files", type=click.IntRange(1, 100_000), default=256, help="Rows of one file of results."),
    click.option(
        "--shard",
        callback=_shard,
        default="1/1",
        metavar="I/N",
        help="Only the I-th of N shares, so that N machines divide the work.",
    ),
    click.option("--keep-list", is_flag=True, help="Continue with the first list, although the source has changed."),
    click.option("--dry-run", is_flag=True, help="Send a sample, write nothing, and estimate time and cost."),
    click.option(
        "--sample", "sample_size", type=click.IntRange(min=2), default=64, help="With --dry-run: files of the sample."
    ),
    click.option("--price", type=POSITIVE, help="Price of a machine for an hour, for the cost of an hour of video."),
    click.option("--ray-address", metavar="HOST:PORT", default="auto", help="With --engine ray: the cluster."),
    click.option("-q", "--quiet", is_flag=True, help="Print only errors."),
)

limit_options = bundle(
    "limits",
    Limits,
    click.option(
        "-j",
        "--concurrency",
        type=click.IntRange(1, MAX_CONCURRENCY),
        default=4,
        help="Files sent to each service at the same time.",
    ),
    click.option(
        "--retries", type=click.IntRange(0, 20), default=3, help="Further attempts after a service failed on a file."
    ),
    click.option(
        "--max-outage",
        "max_outage_s",
        type=POSITIVE,
        default=300.0,
        help="Seconds without any answer after which a service counts as lost.",
    ),
    click.option("--retry-errors", is_flag=True, help="Repeat files on which a service failed in earlier runs."),
)
