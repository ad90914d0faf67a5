"""A run: its manifest, the parts that are left, and the engine that works on them."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ..errors import ClipstackError, ConnectFailed, ServiceUnavailable
from .formats import check_format
from .journal import parts_to_repeat
from .manifest import Manifest, Part, pin
from .part_runner import Output, PartRunner
from .request import BulkRequest, Limits
from .service import Connection, Service
from .source import list_source
from .stats import Stats
from .stores import open_store


@dataclass(frozen=True)
class Plan:
    """Parts of one run, those that are finished left out; `files` counts all files of the shard."""

    results: str
    format: str
    request: BulkRequest
    limits: Limits
    parts: tuple[Part, ...]
    files: int

    @property
    def output(self) -> Output:
        """Return the place of the results."""
        return Output(open_store(self.results), self.format)

    def unfinished(self) -> tuple[Part, ...]:
        """Return the parts of this plan without results; blocks."""
        output = self.output
        names = set(output.store.names())
        return tuple(part for part in self.parts if output.name(part) not in names)


@dataclass(frozen=True)
class Options:
    """Place, format and cut of the results; `keep_list` continues although the source has changed."""

    source: str
    results: str
    format: str = "parquet"
    part_files: int = 256
    shard: int = 1
    shards: int = 1
    keep_list: bool = False


def plan(options: Options, request: BulkRequest, limits: Limits) -> Plan:
    """List the source, pin the list in the results, and return the parts that are left; blocks.

    Raise InvalidSource, FormatUnavailable, StoreFailed, or ManifestConflict if the results belong to other files or
    parameters.
    """
    check_format(options.format)
    entries = tuple(list_source(options.source))
    store = open_store(options.results)
    wanted = Manifest(options.source, options.format, options.part_files, request, entries)
    manifest = pin(store, wanted, keep_list=options.keep_list)
    parts = manifest.parts(options.shard, options.shards)
    whole = Plan(
        options.results, options.format, request, limits, tuple(parts), sum(len(part.entries) for part in parts)
    )
    left = whole.unfinished()
    if limits.retry_errors:
        names = {part.name for part in left}
        repeat = parts_to_repeat(store, {part.name for part in parts} - names)
        left = tuple(part for part in parts if part.name in names | repeat)
    return Plan(options.results, options.format, request, limits, left, whole.files)


async def run_local(plan: Plan, connections: Sequence[Connection], stats: Stats) -> None:
    """Work on the parts with services that this process sends the files to; see `PartRunner.run` for the errors."""
    async with AsyncExitStack() as resources:
        services = [Service(connection, plan.limits) for connection in connections]
        for service in services:
            resources.push_async_callback(service.close)
        await check_services(services, plan.request)
        await PartRunner(services, plan.output, plan.request, plan.limits, stats).run(plan.parts)


async def check_services(services: Sequence[Service], request: BulkRequest) -> None:
    """Check key and model at each service; those that are away or busy are waited for later, unless all are away.

    Raise ClipstackError if one refuses the key, lacks the model, or is not Clipstack, or if no service answers.
    """
    away: list[ClipstackError] = []
    for service in services:
        try:
            await service.check(request.model)
        except (ConnectFailed, ServiceUnavailable) as error:
            away.append(error)
    if len(away) == len(services):
        raise away[0]
