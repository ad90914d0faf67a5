"""The command line `clipstack-keys`: create, list, rotate and revoke keys; running services see changes at once."""

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.auth import store
from app.auth.keys import LANES, Key, parse_keys, read_document
from app.auth.limits import MAX_SLOTS
from app.errors import KeyStoreUnavailable
from app.settings import InvalidSetting, Settings, require_checkout
from app.settings import recorded as recorded_settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clipstack")
def main() -> None:
    """Create, list and revoke the API keys of a Clipstack service, on its machine and in its checkout.

    It is the service that runs in CLIPSTACK_RUN_DIR, or from this checkout; CLIPSTACK_DATA_DIR matters when none runs.
    """
    require_checkout("clipstack-keys")


@contextmanager
def _service_settings() -> Iterator[Settings]:
    """Yield the settings; turn the expected errors of the block into messages without a traceback."""
    try:
        yield recorded_settings.current()
    except store.NameTaken as error:
        raise click.ClickException(
            f"there is a key {error} already: rotate or revoke it, or choose another name"
        ) from None
    except store.NoSuchKey as error:
        raise click.ClickException(f"there is no key {error}") from None
    except KeyStoreUnavailable as error:
        raise click.ClickException(f"{error.message}: {error.__cause__}") from None
    except (InvalidSetting, OSError) as error:
        raise click.ClickException(str(error)) from None


def _name(_: click.Context, __: click.Parameter, name: str) -> str:
    """Return a valid name; raises BadParameter."""
    if not _NAME.fullmatch(name):
        raise click.BadParameter("up to 64 letters, digits and . _ @ - please, a letter or digit first")
    return name


def _lanes(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Return the lanes of a comma-separated list without repetitions; raises BadParameter for an unknown one."""
    if text is None:
        return None
    lanes = tuple(dict.fromkeys(lane.strip() for lane in text.split(",")))
    if unknown := [lane for lane in lanes if lane not in LANES]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(LANES)}")
    return lanes


@main.command(short_help="Make a key and print it, once.")
@click.argument("name", callback=_name)
@click.option("--rate", type=click.FloatRange(min=0, max=10_000, min_open=True), help="Files a second.  [default: any]")
@click.option("--burst", type=click.IntRange(1, 100_000), help="Files at once within that rate.  [default: a second's]")
@click.option(
    "--concurrent",
    type=click.IntRange(1, MAX_SLOTS),
    help="Files at the same time, waiting ones included.  [default: half of what the service holds]",
)
@click.option("--lanes", callback=_lanes, metavar="LANES", help=f"Some of {','.join(LANES)}.  [default: all]")
def create(
    name: str, rate: float | None, burst: int | None, concurrent: int | None, lanes: tuple[str, ...] | None
) -> None:
    """Make a key for NAME and print it, once: only its hash is kept."""
    if burst is not None and rate is None:
        raise click.UsageError("--burst needs --rate")
    key = Key("", name, "", "", rate, burst or max(1, math.ceil(rate or 1)), concurrent, lanes)
    with _service_settings() as settings:
        _show(*store.create(settings.keys_file, key))


@main.command(short_help="Give a key another secret, and print it.")
@click.argument("name")
def rotate(name: str) -> None:
    """Give the key NAME (or its id) another secret: the old one ends at once, jobs and limits stay."""
    with _service_settings() as settings:
        _show(*store.rotate(settings.keys_file, name))


@main.command()
@click.argument("name")
def revoke(name: str) -> None:
    """End the key NAME (or its id) and its sessions."""
    with _service_settings() as settings:
        key, key_id = store.revoke(settings.keys_file, name)
    click.echo(f"{key} ({key_id}) is revoked")


@main.command(name="list")
def list_keys() -> None:
    """List the keys; their secrets are kept nowhere."""
    with _service_settings() as settings:
        keys, damaged = parse_keys(read_document(settings.keys_file))
    rows = [("name", "id", "created", "rate", "concurrent", "lanes")]
    for key in sorted(keys.values(), key=lambda key: key.name):
        rate = f"{key.rate:g}/s, {key.burst} at once" if key.rate else "any"
        rows.append(
            (key.name, key.id, key.created, rate, str(key.concurrent or "half"), ",".join(key.lanes or ["all"]))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for reason in damaged:
        click.echo(f"{reason}: it lets nobody in; revoke it and create it again", err=True)


def _show(key: Key, text: str) -> None:
    """Print the key alone to standard output, so that a shell can capture it, and the explanation to standard error."""
    click.echo(f"The key of {key.name} ({key.id}). It is shown this once: keep it where passwords are kept.", err=True)
    click.echo(text)
    sys.stdout.flush()
