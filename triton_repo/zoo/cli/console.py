"""Terminal output, exit codes and option types that the commands of `clipstack-models` share."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from app.settings import InvalidSetting, Settings
from app.settings import recorded as recorded_settings
from triton_repo.zoo import ModelError

INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
COUNT = click.IntRange(min=1)


class ColoursType(click.ParamType[tuple[float, float, float]]):
    """One number, or three numbers separated by commas: red, green, blue."""

    name = "number[,number,number]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Return the three numbers of an option's value, or fail with a usage error."""
        try:
            numbers = [float(word) for word in value.split(",")]
            red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
            if not all(map(math.isfinite, numbers)):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is neither one number nor three with commas between them", param, ctx)
        return red, green, blue


def models_option(command: Command) -> Command:
    """Add the option --models to a command."""
    return click.option(
        "--models", type=FOLDER, help="Folder of the models.  [default: CLIPSTACK_MODEL_DIR, or triton_repo/models]"
    )(command)


@contextmanager
def command_settings() -> Iterator[Settings]:
    """Yield the settings; print an expected error as one paragraph on standard error and exit with code 1."""
    # The converters' warnings do not concern the user.
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        yield recorded_settings.current()
    except (ModelError, InvalidSetting, OSError) as error:
        print_error(error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def print_error(error: Exception) -> None:
    """Print an error as one paragraph on standard error."""
    console(stderr=True).print(Text.assemble(("✗ ", "bold red"), " ".join(str(error).split())))


def print_skipped(file: Path, error: Exception) -> None:
    """Print why a file is left out."""
    print_error(ModelError(f"skipped {file}: {error}"))


def console(stderr: bool = False) -> Console:
    """Return a console for standard output or error; output to files and pipes is not wrapped."""
    result = Console(stderr=stderr, highlight=False)
    return result if result.is_terminal else Console(stderr=stderr, highlight=False, width=1000)
