"""Command line of the doctor.

Usage: python -m deploy.doctor [--json] [--strict] [--quiet] [CHECK...]

The settings are CLIPSTACK_* in the environment.
"""

from __future__ import annotations

import sys
import time

import click
from rich.console import Console

from deploy.doctor import pages, report
from deploy.doctor.context import Context
from deploy.doctor.examination import examine
from deploy.doctor.registry import CHECKS

UNSEEN_WIDTH = 160  # columns when the output is a file or a pipe


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[CHECK]...")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
@click.option("--strict", is_flag=True, help="Exit with 1 when there are warnings.")
@click.option("--quiet", "-q", is_flag=True, help="Leave out what is well.")
@click.option("--page", is_flag=True, help="Print the table of docs/troubleshooting.md instead.")
def main(names: tuple[str, ...], as_json: bool, strict: bool, quiet: bool, page: bool) -> None:
    """Say what is wrong with the stack here, running or not, and how to mend it. Nothing is changed.

    CHECK is the beginning of a check's name, such as "ports"; all of them by default.

    \b
    Exit codes: 0 all is well, 1 there are warnings and --strict was given,
    2 something is wrong, or the command line is.
    """
    if page:
        click.echo(pages.table())
        return
    chosen = [check for check in CHECKS if not names or check.name.lower().startswith(tuple(map(str.lower, names)))]
    if not chosen:
        raise click.BadParameter(f"there is no check {' or '.join(names)}; all of them: docs/troubleshooting.md")
    began = time.monotonic()
    reports = examine(Context.here(), chosen)
    seconds = time.monotonic() - began
    if as_json:
        click.echo(report.of_scripts(reports, seconds))
    else:
        width = None if sys.stdout.isatty() else UNSEEN_WIDTH
        Console(highlight=False, width=width).print(report.of_people(reports, seconds, all_lines=not quiet))
    sys.stdout.flush()
    sys.exit(report.exit_code(reports, strict))


if __name__ == "__main__":
    main(prog_name="clipstack doctor")
