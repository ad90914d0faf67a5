"""Options that commands share, and the start and end of a command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from ..async_client import DEFAULT_URL, AsyncClient
from ..errors import ReductionUnavailable
from ..reduction.uploader import Reduction
from .output.records import INTERRUPTED

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

CHECKOUT = Path(__file__).resolve().parents[3]
SHOWN_URL = f"the stack of this checkout, or {DEFAULT_URL}"
MOST_AT_ONCE = 32
TERMINATED = 128 + signal.SIGTERM
SHRINK = ("always", "auto")
MEGABIT_BYTES = 125_000

Command = TypeVar("Command", bound=Callable[..., Any])


class WithShrink(click.Command):
    """Command whose `--shrink` needs no value: the next argument is its value only if it is a valid one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give `--shrink` its default value where the next argument is not a value of it."""
        words = []
        for place, word in enumerate(args):
            following = args[place + 1] if place + 1 < len(args) else None
            words.append("--shrink=always" if word == "--shrink" and following not in SHRINK else word)
        return super().parse_args(ctx, words)


def default_url() -> str:
    """Return the recorded address of the stack that runs from this checkout, or the usual address."""
    run_dir = os.environ.get("CLIPSTACK_RUN_DIR") or CHECKOUT / ".runtime" / "run"
    try:
        return Path(run_dir, "url").read_text().strip() or DEFAULT_URL
    except OSError:
        return DEFAULT_URL


def _all(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    """Store an option in the context, for `connected` to read; commands do not receive it."""
    context.meta[f"clipstack.{option.name}"] = value


def _keep_key(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    # A file instead of the key itself, because every user of the machine can see a command line
    _keep(context, option, None if path is None else path.read_text(errors="replace"))


def service_options(command: Command) -> Command:
    """Add the options that select the service and its timeouts."""
    return _all(
        command,
        click.option(
            "--url", envvar="CLIPSTACK_URL", show_envvar=True, default=default_url, show_default=SHOWN_URL,
            help="Address of the service.",
        ),
        click.option(
            "--timeout", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True,
            help="Longest silence, in seconds.",
        ),
        click.option(
            "--patience", type=click.FloatRange(min=0), default=20.0, show_default=True,
            help="Seconds to spend, for each file, on waiting for a busy service.",
        ),
        click.option(
            "--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), envvar="CLIPSTACK_KEY_FILE",
            show_envvar=True, expose_value=False, callback=_keep_key,
            help="File with the service's key, if it asks for one; left out, CLIPSTACK_KEY in the environment.",
        ),
        click.option(
            "--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), envvar="CLIPSTACK_CA_FILE",
            show_envvar=True, expose_value=False, callback=_keep,
            help="For https: certificates to trust instead of the system's, such as a self-signed one.",
        ),
    )  # fmt: skip


def output_options(command: Command) -> Command:
    """Add the options that select the format and the file of the answers."""
    return _all(
        command,
        click.option(
            "--output", type=click.Choice(["table", "jsonl", "csv"]),
            help="Form of the answers; left out, what the name of -o says, else a table.",
        ),
        click.option("--json", "as_json", is_flag=True, help="The same as --output jsonl."),
        click.option(
            "-o", "--save", type=click.Path(path_type=Path), metavar="FILE", help="Write the answers into FILE.",
        ),
        click.option("--resume", is_flag=True, help="Go on with FILE: what has its answer there is left out."),
    )  # fmt: skip


def bulk_options(command: Command) -> Command:
    """Add the option for the number of concurrent files."""
    return click.option(
        "-j", "--concurrency", "--jobs", "concurrency", type=click.IntRange(1, MOST_AT_ONCE), default=4,
        show_default=True, help="Files under way at a time.",
    )(command)  # fmt: skip


def reduction_options(frames: bool) -> Callable[[Command], Command]:
    """Return a decorator that adds the options for smaller uploads; `frames` allows single frames."""

    def options(command: Command) -> Command:
        added = [
            click.option(
                "--shrink", type=click.Choice(SHRINK), metavar="[auto]",
                help="Send a smaller copy of each video, or with `auto` whatever is quickest: file, copy or frames.",
            ),
            click.option(
                "--rate", type=click.FloatRange(min=0, min_open=True), metavar="MBIT",
                help="Upload rate in Mbit/s for --shrink auto; measured when left out.",
            ),
        ]  # fmt: skip
        if frames:
            added.insert(1, click.option("--frames", is_flag=True, help="Send just the frames that will be looked at."))
        return _all(command, *added)

    return options


def reduction_of(shrink: str | None, frames: bool = False) -> Reduction:
    """Return the reduction that the options select.

    Raises:
        click.UsageError: The options conflict, or a package is missing.
    """
    if shrink is None and not frames:
        return "none"
    if shrink is not None and frames:
        raise click.UsageError("--shrink and --frames are two ways: choose one, or let --shrink auto choose")
    if find_spec("av") is None or find_spec("numpy") is None:
        raise click.UsageError(ReductionUnavailable().message)
    return "frames" if frames else "auto" if shrink == "auto" else "shrink"


@asynccontextmanager
async def connected(
    url: str, timeout: float, patience: float = 20.0, rate: float | None = None
) -> AsyncIterator[AsyncClient]:
    """Yield a client; raise click.UsageError for an invalid URL. `rate` is in Mbit/s."""
    kept = click.get_current_context().meta
    key, trusted = kept.get("clipstack.key_file"), kept.get("clipstack.ca_file")
    megabits = rate and rate * MEGABIT_BYTES
    try:
        client = AsyncClient(url, timeout=timeout, patience=patience, rate=megabits, key=key, verify=trusted or True)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.BadParameter(f"{trusted}: {error}", param_hint="--ca-file") from error
    async with client:
        yield client


def finish(work: Coroutine[Any, Any, int]) -> int:
    """Run a command and return its exit code; Ctrl-C and SIGTERM cancel it and give their usual codes."""

    async def interruptible() -> int:
        task = asyncio.current_task()
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task and task.cancel())
        return await work

    try:
        return asyncio.run(interruptible())
    except KeyboardInterrupt:
        return INTERRUPTED
    except asyncio.CancelledError:
        return TERMINATED
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
