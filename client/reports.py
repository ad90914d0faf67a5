"""What the command line says of each file: a table or a line of JSON, and the exit code in the end."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

import click
from rich.console import Console

from client.errors import ClipstackError, RequestRefused
from client.runs import Outcome
from client.tables import error_block, result_block

UNBROKEN = 1000
# 2 is click's, for a wrong command line.
FINE, REFUSED, SERVICE, INTERRUPTED = 0, 1, 3, 130


class Consoles:
    """Answers go to standard output, everything else to standard error."""

    def __init__(self) -> None:
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    def show(self, outcome: Outcome, *, as_json: bool, apart: bool) -> None:
        """Print what became of one file, with an empty line after it if `apart`.

        Errors are for people, in JSON mode too: the line of JSON may go where nobody looks. A file that was
        not sent is left to the summary.
        """
        if as_json:
            click.echo(json.dumps(json_line(outcome)))
        elif outcome.result is not None:
            self.out.print(result_block(shown(outcome.file), outcome.result), *[""] * apart)
        if outcome.error is not None:
            self.err.print(error_block(shown(outcome.file), outcome.error), *[""] * (apart and not as_json))


def _console(stream: TextIO) -> Console:
    console = Console(file=stream, highlight=False)
    # What goes to a file or to grep is not broken into the lines of a screen.
    return console if console.is_terminal else Console(file=stream, highlight=False, width=UNBROKEN)


def exit_code(outcome: Outcome) -> int:
    """0 for a result, 1 where the file is at fault, 3 where the service is."""
    if outcome.result is not None:
        return FINE
    return REFUSED if isinstance(outcome.error, RequestRefused | OSError) else SERVICE


def json_line(outcome: Outcome) -> dict[str, Any]:
    """The service's answer with the file before it, or `error` in the same shape as the service's."""
    line: dict[str, Any] = {"file": outcome.file}
    error = outcome.error
    if outcome.result is not None:
        line.update(outcome.result.answer)
    elif isinstance(error, ClipstackError):
        told = {"code": error.code, "message": error.message, "request_id": error.request_id}
        line["error"] = {**told, "status": error.status}
    else:
        code = "not_sent" if error is None else "unreadable_file"
        message = "the service was out of reach before its turn came" if error is None else str(error)
        line["error"] = {"code": code, "message": message, "request_id": None, "status": None}
    return line


def shown(file: str) -> str:
    """The name of a file as people are told it."""
    return "standard input" if file == "-" else file
