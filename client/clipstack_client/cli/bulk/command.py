"""Command `clipstack bulk`: classify a whole archive."""

import tempfile
from dataclasses import replace

import click
from click.core import ParameterSource

from ...bulk import ray_engine
from ...bulk.estimate import estimate, sample
from ...bulk.formats import FormatUnavailable
from ...bulk.manifest import ManifestConflict, Part
from ...bulk.request import BulkRequest, Limits
from ...bulk.run import Options, Plan, plan, run_local
from ...bulk.service import Connection
from ...bulk.source import InvalidSource, list_source
from ...bulk.stats import Stats
from ...errors import ClipstackError
from ...loop_thread import run_in_thread
from ..options.commands import Command
from ..options.connection import ServiceOptions, service_options
from ..options.shared import SelectionOptions, selection_options
from ..output.records import OK, REFUSED, SERVICE
from ..output.report import error_console, print_error
from ..runner import run_command
from .options import RunOptions, limit_options, request_options, run_options
from .progress import BulkProgress, bulk_summary, estimate_table

# ValueError: the URL or the key is malformed
USAGE_ERRORS = (InvalidSource, ManifestConflict, FormatUnavailable, ValueError)
OF_CONNECTION = ("url", "key_file", "ca_file")


@click.command(cls=Command, short_help="Classify a whole archive: a folder, a list, a bucket.")
@click.argument("source")
@run_options
@request_options
@selection_options
@limit_options
@service_options
@click.pass_context
def bulk(
    context: click.Context,
    source: str,
    run: RunOptions,
    request: BulkRequest,
    selection: SelectionOptions,
    limits: Limits,
    service: ServiceOptions,
) -> None:
    """Classify all videos and pictures in SOURCE: a folder, a quoted pattern, a list of files, or a bucket.

    \b
    clipstack bulk archive --to results            a folder of Parquet files
    clipstack bulk s3://bucket/films --to results  a bucket; gs:// and az:// too
    clipstack bulk files.txt --to results          a path or an address a line
    clipstack bulk archive --to results --dry-run  how long will it take?

    Every file has exactly one row. After an interruption the same command continues. --url takes several services
    with commas.
    """
    request = replace(request, **vars(selection))
    limits = replace(limits, timeout_s=service.timeout, patience_s=service.patience)
    if run.engine == "ray":
        _refuse_connection(context)
    connections = [] if run.engine == "ray" else _connections(service)
    command = _Bulk(source, run, request, limits, connections)
    run_command(command.dry_run() if run.dry_run else command.run())


def _refuse_connection(context: click.Context) -> None:
    """Raise click.UsageError for options that the nodes of a cluster take from their environment."""
    for name in OF_CONNECTION:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} does not go with --engine ray: "
                f"each node has its own CLIPSTACK_{name.upper()}"
            )


def _connections(service: ServiceOptions) -> list[Connection]:
    key = None if service.key_file is None else service.key_file.read_text(errors="replace")
    return [Connection(url.strip(), key, service.ca_file) for url in service.url.split(",") if url.strip()]


class _Bulk:
    """One run of the command."""

    def __init__(
        self, source: str, run: RunOptions, request: BulkRequest, limits: Limits, connections: list[Connection]
    ) -> None:
        self._source, self._run, self._request = source, run, request
        self._limits, self._connections = limits, connections
        self._console = error_console()

    async def run(self) -> int:
        """Work on all parts, and return the exit code."""
        run = self._run
        options = Options(self._source, run.results, run.format, run.part_files, *run.shard, run.keep_list)
        try:
            planned = await run_in_thread(plan, options, self._request, self._limits)
        except (ClipstackError, OSError) as error:
            return self._failed(error)
        stats = Stats(planned.files, max(1, len(self._connections)), run.price)
        stats.resumed = planned.files - sum(len(part.entries) for part in planned.parts)
        code, complete = OK, False
        try:
            with BulkProgress(self._console, stats, quiet=run.quiet):
                await self._work(planned, stats)
            complete = True
        except (ClipstackError, OSError, ValueError) as error:
            code = self._failed(error)
        finally:
            if not run.quiet:
                self._console.print(bulk_summary(stats, complete=complete))
        return max(code, REFUSED if stats.errors else OK)

    async def _work(self, planned: Plan, stats: Stats) -> None:
        if self._run.engine == "ray":
            await ray_engine.run_ray(planned, self._run.ray_address, stats)
        else:
            await run_local(planned, self._connections, stats)

    async def dry_run(self) -> int:
        """Send a sample, print the estimate, and return the exit code."""
        if self._run.engine == "ray":
            raise click.UsageError("--dry-run measures with the local engine: name the services of some nodes by --url")
        try:
            entries = await run_in_thread(list_source, self._source)
            part = Part(0, "sample", sample(entries, self._run.sample_size))
            with tempfile.TemporaryDirectory(prefix="clipstack-") as folder:
                planned = Plan(folder, "jsonl", self._request, self._limits, (part,), len(part.entries))
                stats = Stats(planned.files, len(self._connections), self._run.price)
                with BulkProgress(self._console, stats, quiet=self._run.quiet):
                    await run_local(planned, self._connections, stats)
        except (ClipstackError, OSError, ValueError) as error:
            return self._failed(error)
        self._console.print(estimate_table(entries, stats, *estimate(entries, stats)))
        return OK

    def _failed(self, error: ClipstackError | OSError | ValueError) -> int:
        """Print an error, and return its exit code; raise click.UsageError if the command line is at fault."""
        if isinstance(error, USAGE_ERRORS):
            raise click.UsageError(str(error)) from error
        return max(SERVICE, print_error(None, error))
