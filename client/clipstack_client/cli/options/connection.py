"""Options about the connection to the service, and the client that they make."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from ...async_client import DEFAULT_URL, AsyncClient
from .bundle import bundle

CHECKOUT = Path(__file__).resolve().parents[4]
SHOWN_URL = f"the stack of this checkout, or {DEFAULT_URL}"
MEGABIT_BYTES = 125_000
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)


class ServiceOption(click.Option):
    """Option about the connection to the service; `--help` lists these apart."""


@dataclass(frozen=True)
class ServiceOptions:
    """The service to connect to; `patience` is the waiting time in seconds per request."""

    url: str
    timeout: float
    patience: float
    key_file: Path | None
    ca_file: Path | None


def default_url() -> str:
    """Return the address of the stack that runs from this checkout, or the usual address."""
    run_dir = os.environ.get("CLIPSTACK_RUN_DIR") or CHECKOUT / ".runtime" / "run"
    try:
        return Path(run_dir, "url").read_text().strip() or DEFAULT_URL
    except OSError:
        return DEFAULT_URL


service_options = bundle(
    "service",
    ServiceOptions,
    click.option(
        "--url",
        cls=ServiceOption,
        envvar="CLIPSTACK_URL",
        show_envvar=True,
        default=default_url,
        show_default=SHOWN_URL,
        help="Address of the service.",
    ),
    click.option("--timeout", cls=ServiceOption, type=POSITIVE, default=120.0, help="Longest silence, in seconds."),
    click.option(
        "--patience",
        cls=ServiceOption,
        type=click.FloatRange(min=0),
        default=20.0,
        help="Seconds per file to wait for a busy service.",
    ),
    # A file instead of the key itself, because every user of the machine can see a command line
    click.option(
        "--key-file",
        cls=ServiceOption,
        type=FILE,
        envvar="CLIPSTACK_KEY_FILE",
        show_envvar=True,
        help="File with the service's API key.  [default: CLIPSTACK_KEY in the environment]",
    ),
    click.option(
        "--ca-file",
        cls=ServiceOption,
        type=FILE,
        envvar="CLIPSTACK_CA_FILE",
        show_envvar=True,
        help="For https: certificates to trust instead of the system's, for example a self-signed one.",
    ),
)


@asynccontextmanager
async def connect(service: ServiceOptions, rate: float | None = None) -> AsyncIterator[AsyncClient]:
    """Yield a client; raise click.UsageError for an invalid URL or key. `rate` is in Mbit/s."""
    try:
        client = AsyncClient(
            service.url,
            timeout=service.timeout,
            patience=service.patience,
            rate=rate and rate * MEGABIT_BYTES,
            key=None if service.key_file is None else service.key_file.read_text(errors="replace"),
            verify=service.ca_file or True,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.BadParameter(f"{service.ca_file}: {error}", param_hint="--ca-file") from error
    async with client:
        yield client
