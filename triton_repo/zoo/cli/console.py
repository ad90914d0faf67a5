"""What the commands of `clipstack-models` share: the terminal they speak to, how they end, types of options."""

from __future__ import annotations

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

from app import recorded_settings
from app.settings import InvalidSetting, Settings
from triton_repo.zoo.errors import ModelError

INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
COUNT = click.IntRange(min=1)


class ColoursType(click.ParamType[tuple[float, float, float]]):
    """One number, or three with commas between them: red, green, blue."""

    name = "number[,number,number]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        try:
            numbers = [float(word) for word in value.split(",")]
            red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
            if not all(map(math.isfinite, numbers)):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is neither one number nor three with commas between them", param, ctx)
        return red, green, blue


def models_option(command: Command) -> Command:
    return click.option(
        "--models", type=FOLDER, help="Folder of the models.  [default: CLIPSTACK_MODEL_DIR, or triton_repo/models]"
    )(command)


@contextmanager
def told() -> Iterator[Settings]:
    """The settings; what goes wrong is one paragraph on standard error, and exit code 1."""
    # What the converters tell each other is of no use to whoever adds a model.
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        yield recorded_settings.in_force()
    except (ModelError, InvalidSetting, OSError) as error:
        complain(error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def complain(error: Exception) -> None:
    console(stderr=True).print(Text.assemble(("✗ ", "bold red"), " ".join(str(error).split())))


def console(stderr: bool = False) -> Console:
    """What goes to a file or to grep is not broken into the lines of a screen."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=1000)


__all__ = ["COUNT", "FILE", "FOLDER", "ColoursType", "complain", "console", "models_option", "told"]
