"""Command line of the doctor.

Usage: python -m deploy.doctor [--json] [--strict] [--quiet] [CHECK...]

The settings are CLIPSTACK_* in the environment.
"""

import sys
import time

import click
from rich.console import Console

from app.settings import require_checkout
from deploy.doctor import pages, report
from deploy.doctor.context import Context
from deploy.doctor.registry import CHECKS
from deploy.doctor.runner import run_checks

FILE_WIDTH = 160  # columns when the output is a file or a pipe


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[CHECK]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.option("--strict", is_flag=True, help="Exit with 1 when there are warnings.")
@click.option("--quiet", "-q", is_flag=True, help="Print only warnings and problems.")
@click.option("--page", is_flag=True, help="Print the tables of docs/troubleshooting.md and exit.")
def main(names: tuple[str, ...], as_json: bool, strict: bool, quiet: bool, page: bool) -> None:
    """Check the stack on this machine, running or stopped, and print how to fix what is wrong.

    The doctor changes nothing. CHECK is the beginning of a check's name, such as "ports"; without it all checks run.

    \b
    Exit codes:
      0  no problems
      1  warnings, with --strict
      2  problems, or an invalid command line
    """
    require_checkout("clipstack doctor")
    if page:
        click.echo(pages.tables())
        return
    chosen = [check for check in CHECKS if not names or check.name.lower().startswith(tuple(map(str.lower, names)))]
    if not chosen:
        raise click.BadParameter(f"no check begins with {' or '.join(names)}; run the doctor without a name to see all")
    started = time.monotonic()
    results = run_checks(Context.current(), chosen)
    seconds = time.monotonic() - started
    if as_json:
        click.echo(report.as_json(results, seconds))
    else:
        width = None if sys.stdout.isatty() else FILE_WIDTH
        Console(highlight=False, width=width).print(report.table(results, seconds, all_lines=not quiet))
    sys.stdout.flush()
    sys.exit(report.exit_code(results, strict))


if __name__ == "__main__":
    main(prog_name="clipstack doctor")
