"""Command line of the stack.

Usage: python -m deploy.stack up|down|status|wait|logs|url

The settings are CLIPSTACK_* in the environment.
"""

import os
import subprocess
import sys

from app.settings import InvalidSetting
from deploy.stack.access_summary import access_summary
from deploy.stack.stack import Stack, StackError


def up(stack: Stack) -> None:
    """Start the stack, then print its URL and who may use it."""
    stack.up()
    for warning in stack.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print("\n".join([f"Clipstack is ready: {stack.url}", *access_summary(stack.settings)]))


def down(stack: Stack) -> None:
    """Stop the stack."""
    stack.down()
    print("Clipstack is stopped")


def wait(stack: Stack) -> None:
    """Wait until the stack is ready."""
    stack.wait()


def status(stack: Stack) -> int:
    """Print the table of programs; return 3 unless the stack is ready."""
    ready, table = stack.status()
    print(table)
    return 0 if ready else 3


def logs(stack: Stack) -> int:
    """Follow all logs of the stack."""
    files = map(str, sorted((stack.run_dir / "logs").glob("*.log")))
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])


def url(stack: Stack) -> None:
    """Print the stack's URL."""
    print(stack.url)


COMMANDS = {command.__name__: command for command in (up, down, wait, status, logs, url)}


def main(arguments: list[str]) -> int | str | None:
    """Run the command in `arguments` and return the exit status, or the message to print on failure."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        return __doc__
    try:
        stack = Stack()
        return COMMANDS[arguments[0]](stack if arguments[0] == "up" else stack.as_started())
    except (StackError, InvalidSetting, OSError) as error:
        return f"clipstack: {error}"
    except subprocess.CalledProcessError as error:
        return f"clipstack: supervisord exited with status {error.returncode}; its own message is above"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
